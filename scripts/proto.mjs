// npm run proto: writes the code of host/proto anew, in TypeScript and Go. Needs Go.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { install, launch, LauncherError, part, requireNode, root, run } from './prepare.mjs';

/** Equal to what integrations/go/go.mod runs with. */
const plugins = [
  'google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12',
  'google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2',
];

async function required(command, args, env = {}) {
  const code = await run(command, args, { env });
  if (code !== 0) throw new LauncherError(`${command} ${args.join(' ')} failed`);
}

await launch(async () => {
  requireNode();
  await install();
  const GOBIN = join(root, '.cache', 'go-bin');
  await part('plugins', async () => {
    for (const plugin of plugins) await required('go', ['install', plugin], { GOBIN });
  });
  mkdirSync(join(root, 'integrations', 'go', 'hostpb'), { recursive: true });
  const bin = join(root, 'node_modules', '.bin');
  await part('generate', async () => {
    await required(join(bin, 'buf'), ['generate']);
    await required(join(bin, 'buf'), ['generate', '--template', 'buf.gen.go.yaml']);
  });
  return 0;
});

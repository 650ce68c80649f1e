// npm run bench:host: sets everything up, then measures the storage host (see bench/host/run.ts).
import { join } from 'node:path';

import {
  build,
  install,
  launch,
  LauncherError,
  onPath,
  requireNode,
  root,
  run,
} from './prepare.mjs';

await launch(async () => {
  requireNode();
  if (!onPath('go')) throw new LauncherError('The load generator is in Go: install it (go.dev).');
  await install();
  await build();
  const program = join(root, 'dist', 'bench', 'host', 'run.js');
  return run(process.execPath, [program, ...process.argv.slice(2)]);
});

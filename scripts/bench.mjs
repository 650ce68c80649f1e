// npm run bench: sets everything up, then compares with tar, lz4 and openssl (see bench/run.ts).
import { join } from 'node:path';

import { build, install, launch, requireNode, root, run } from './prepare.mjs';

await launch(async () => {
  requireNode();
  await install();
  await build();
  return run(process.execPath, [join(root, 'dist', 'bench', 'run.js'), ...process.argv.slice(2)]);
});

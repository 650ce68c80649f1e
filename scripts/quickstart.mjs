// npm run quickstart: sets everything up on a fresh machine, then runs the main job on real input.
import { existsSync } from 'node:fs';
import { join } from 'node:path';

import {
  build,
  install,
  launch,
  LauncherError,
  requireNode,
  root,
  run,
  temporal,
  temporalEnvironment,
} from './prepare.mjs';

await launch(async () => {
  requireNode();
  await install();
  await build();
  const job = join(root, 'dist', 'cli', 'quickstart.js');
  if (!existsSync(job)) throw new LauncherError(`The build left no ${job}.`);
  const server = await temporal({ external: true });
  const env = temporalEnvironment(server);
  return run(process.execPath, [job, ...process.argv.slice(2)], { env });
});

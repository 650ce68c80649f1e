// npm run openapi: writes docs/openapi.json anew, from the schemas of the API's routes, and the
// typed paths of its client from that. Tests hold both equal to the server.
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import {
  build,
  install,
  launch,
  LauncherError,
  part,
  program,
  requireNode,
  root,
  run,
} from './prepare.mjs';

const document = join(root, 'docs', 'openapi.json');
const paths = join(root, 'client', 'http', 'gen', 'paths.ts');

async function required(command, args) {
  const code = await run(command, args);
  if (code !== 0) throw new LauncherError(`${command} ${args.join(' ')} failed`);
}

/** The product's own modules, as built. */
function compiled(path) {
  return import(pathToFileURL(join(root, 'dist', path)).href);
}

/** No request is made, so Temporal is not reached. */
async function writeDocument() {
  const { Client, Connection } = await import('@temporalio/client');
  const { openControlStore } = await compiled('control/control-store.js');
  const { createApiServer } = await compiled('api/api-server.js');
  const controlDir = mkdtempSync(join(tmpdir(), 'quorumshift-openapi-'));
  const store = await openControlStore({ controlDir });
  const temporal = new Client({ connection: Connection.lazy() });
  try {
    const unused = { address: '', authentication: 'off', perMinute: 1 };
    const { app } = await createApiServer({ temporal, store, ...unused });
    writeFileSync(document, `${JSON.stringify(app.swagger(), null, 2)}\n`);
    await app.close();
  } finally {
    await store.close();
    rmSync(controlDir, { recursive: true });
  }
  await required(process.execPath, [program('oxfmt/bin/oxfmt'), document]);
}

/** With a TypeScript of its own: see scripts/http-types/package.json. */
async function writePaths() {
  const directory = join(root, '.cache', 'http-types');
  mkdirSync(directory, { recursive: true });
  for (const file of ['package.json', 'package-lock.json']) {
    copyFileSync(join(root, 'scripts', 'http-types', file), join(directory, file));
  }
  await required('npm', ['ci', '--prefix', directory, '--ignore-scripts', '--no-audit']);
  const generator = join(directory, 'node_modules', 'openapi-typescript', 'bin', 'cli.js');
  await required(process.execPath, [generator, document, '--output', paths]);
  const digest = createHash('sha256').update(readFileSync(document)).digest('hex');
  const head = `// Made by "npm run openapi" from docs/openapi.json, of SHA-256 ${digest}.\n`;
  writeFileSync(paths, head + readFileSync(paths, 'utf8'));
}

await launch(async () => {
  requireNode();
  await install();
  // What does not fit may be the very types that are to be written: it is emitted all the same.
  await build().catch(() =>
    console.log('   going on: these may be the types that are written now'),
  );
  mkdirSync(join(root, 'client', 'http', 'gen'), { recursive: true });
  await part('docs/openapi.json', writeDocument);
  await part('client/http/gen/paths.ts', writePaths);
  await build();
  return 0;
});

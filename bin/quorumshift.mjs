#!/usr/bin/env node
// The command line's entry: the program itself is cli/main.ts, compiled.
import { existsSync } from 'node:fs';

const main = new URL('../dist/cli/main.js', import.meta.url);
if (existsSync(main)) {
  await import(main.href);
} else {
  console.error('quorumshift is not built yet: run "npm ci && npm run build" in its directory.');
  process.exitCode = 1;
}

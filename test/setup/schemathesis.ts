/**
 * Schemathesis, a client of HTTP APIs that makes its requests from the OpenAPI document: a Python
 * program, of pinned versions, in the product's cache. `npm test` installs it, plain vitest finds
 * it.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';

import { productCache } from '../../worker/product-cache.ts';

const requirements = resolve('test/api/schemathesis-requirements.txt');

/** A package index that has not sent it all by then is passed over. */
const installMs = 180_000;

/** The program, or null where it is not installed. */
export function findSchemathesis(env: NodeJS.ProcessEnv): string | null {
  const { ready, program } = placeOf(env);
  return existsSync(ready) ? program : null;
}

/** @throws Error saying what is missing */
export async function installSchemathesis(env: NodeJS.ProcessEnv): Promise<string> {
  const { directory, ready, program } = placeOf(env);
  if (existsSync(ready)) return program;
  await rm(directory, { recursive: true, force: true });
  await mkdir(dirname(directory), { recursive: true });
  const run = promisify(execFile);
  await run('python3', ['-m', 'venv', directory], { timeout: installMs });
  const pip = join(directory, 'bin', 'pip');
  const wanted = ['--quiet', '--no-input', '--requirement', requirements];
  await run(pip, ['install', '--disable-pip-version-check', ...wanted], { timeout: installMs });
  // Last: an installation that was interrupted has none.
  await writeFile(ready, '');
  return program;
}

/** One directory for each set of versions. */
function placeOf(env: NodeJS.ProcessEnv) {
  const digest = createHash('sha256').update(readFileSync(requirements)).digest('hex');
  const directory = join(productCache(env), `schemathesis-${digest.slice(0, 8)}`);
  return {
    directory,
    ready: join(directory, 'installed'),
    program: join(directory, 'bin', 'schemathesis'),
  };
}

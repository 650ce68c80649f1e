/**
 * The workflow code as one script. `npm run build` makes it beforehand (scripts/bundle.mjs), which
 * spares each control worker 1.5 to 3 s; one that is not of this program is not taken.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { bundleWorkflowCode } from '@temporalio/worker';

import { processLog } from './process-log.ts';
import { sdkLogger } from './temporal-runtime.ts';

const program = fileURLToPath(new URL('../', import.meta.url));
const file = join(program, 'workflow-bundle.json');

/** All that the bundle is made of, besides the SDK (test/tidy/import-directions.test.ts). */
const folders = ['core', 'workflows'];

interface Bundle {
  readonly code: string;
  /** SHA-256 of what it was made of. */
  readonly madeOf: string;
}

/** That of this very program, whether made beforehand or now. */
export async function workflowBundle(): Promise<{ readonly code: string }> {
  return (await madeBefore(await sourceDigest())) ?? { code: await bundle() };
}

/** Makes it, where the one that is there is not of this program. */
export async function writeWorkflowBundle(): Promise<void> {
  const madeOf = await sourceDigest();
  if ((await madeBefore(madeOf)) !== null) return;
  await writeFile(file, JSON.stringify({ madeOf, code: await bundle() } satisfies Bundle));
}

async function madeBefore(madeOf: string): Promise<Bundle | null> {
  try {
    const made = JSON.parse(await readFile(file, 'utf8')) as Bundle;
    return made.madeOf === madeOf ? made : null;
  } catch {
    // Not built, or not to its end.
    return null;
  }
}

async function bundle(): Promise<string> {
  const workflowsPath = join(program, 'workflows', 'index.js');
  const logger = sdkLogger(processLog('build', 'text'));
  return (await bundleWorkflowCode({ workflowsPath, logger })).code;
}

async function sourceDigest(): Promise<string> {
  const hash = createHash('sha256');
  const manifest = createRequire(import.meta.url).resolve('@temporalio/workflow/package.json');
  hash.update(await readFile(manifest));
  for (const folder of folders) {
    const names = await readdir(join(program, folder), { recursive: true });
    for (const name of names.filter((one) => one.endsWith('.js')).toSorted()) {
      const code = await readFile(join(program, folder, name));
      hash.update(`${folder}/${name} ${code.length}\n`).update(code);
    }
  }
  return hash.digest('hex');
}

import { appendFile, cp, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import { afterAll, beforeAll, expect, test } from 'vitest';

import type * as bundleModule from '../../worker/workflow-bundle.ts';

type Bundles = typeof bundleModule;

let directory: string;
let bundles: Bundles;

/** A program of the test's own, which it may change. */
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'quorumshift-bundle-'));
  for (const folder of ['core', 'workflows', 'worker']) {
    await cp(resolve('dist', folder), join(directory, 'dist', folder), { recursive: true });
  }
  await cp(resolve('package.json'), join(directory, 'package.json'));
  await symlink(resolve('node_modules'), join(directory, 'node_modules'));
  const module = pathToFileURL(join(directory, 'dist', 'worker', 'workflow-bundle.js'));
  bundles = (await import(module.href)) as Bundles;
});

afterAll(() => rm(directory, { recursive: true, force: true }));

test('a bundle that was made beforehand is taken while the workflow code is the same', async () => {
  const file = join(directory, 'dist', 'workflow-bundle.json');
  expect((await bundles.workflowBundle()).code).toContain('migrateReplica');
  await bundles.writeWorkflowBundle();
  const made = await bundles.workflowBundle();
  expect(made).toHaveProperty('madeOf');

  const mark = `globalThis.mark = 'of the changed program';`;
  await appendFile(join(directory, 'dist', 'workflows', 'index.js'), `\n${mark}\n`);
  const changed = await bundles.workflowBundle();
  expect(changed).not.toHaveProperty('madeOf');
  expect(changed.code).toContain('of the changed program');

  await writeFile(file, '{"madeOf":"');
  await bundles.writeWorkflowBundle();
  expect((await bundles.workflowBundle()).code).toContain('of the changed program');
});

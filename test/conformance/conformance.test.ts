import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, test } from 'vitest';

import type { Family } from '../../storage/contracts.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { conformanceCases } from '../../storage/testing/conformance.ts';

const families: readonly Family[] = defaultFamilies().families;

let root = '';
let places = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'quorumshift-conformance-'));
});

afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

describe.each(families)('family $name', (family) => {
  const uris = () => family.expand(`${family.name}://${join(root, family.name, String(++places))}`);
  for (const { name, clauses, run } of conformanceCases) {
    test(`${name} [${clauses.join('] [')}]`, () =>
      run({ family, uris, context: { files: nodeFileLayer } }));
  }
});

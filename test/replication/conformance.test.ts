import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, test } from 'vitest';

import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { storeCases } from '../../storage/testing/conformance.ts';
import { isLong } from '../setup/long.ts';
import { pairFamily } from './pair-family.ts';

const { families } = defaultFamilies();
const pairs = families.flatMap((primary) =>
  families.map((mirror) => ({ name: `${primary.name} with ${mirror.name}`, primary, mirror })),
);

let root = '';
let places = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'quorumshift-pairs-'));
});

afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

describe.each(pairs)('dual write to $name', ({ primary, mirror }) => {
  const directory = ({ groupId }: { groupId?: string }) => join(root, groupId ?? 'none');
  const family = pairFamily({ primary, mirror, directory });
  const uris = () => {
    const groupId = String(++places);
    return { log: `pair:${groupId}`, meta: 'pair:', snapshot: 'pair:', groupId };
  };
  const index = pairs.findIndex((pair) => pair.primary === primary && pair.mirror === mirror);
  // Together the pairs see every two mutations in sequence; in a long run each sees all.
  const part = isLong ? { index: 0, of: 1 } : { index, of: pairs.length };
  for (const { name, clauses, run } of storeCases) {
    test(`${name} [FAM-4] [DUAL-1] [${clauses.join('] [')}]`, () =>
      run({ family, uris, context: { files: nodeFileLayer }, part }));
  }
});

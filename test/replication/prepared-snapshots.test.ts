import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { Family, Instance } from '../../storage/contracts.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import type { FileLayer } from '../../storage/file-layer.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { preparedOn, tagOf } from '../../storage/replication/pair-snapshots.ts';
import { snapshotOf } from '../../storage/testing/conformance-env.ts';
import { dumpState } from '../../storage/testing/state-dump.ts';
import {
  applyToInstance,
  prepareSnapshot,
  type ModelSnapshot,
} from '../../storage/testing/state-model.ts';
import { openPairAt, type PairFamilyOptions } from './pair-family.ts';

const { families } = defaultFamilies();
const pairs = families.flatMap((primary) =>
  families.map((mirror) => ({ name: `${primary.name} with ${mirror.name}`, primary, mirror })),
);
const uris = { log: 'pair:', meta: 'pair:', snapshot: 'pair:' };

let root = '';
let places = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'quorumshift-prepared-'));
});

afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

/** Which sides had published what both had prepared when the machine stopped. */
const stops = {
  'before it was named': { named: false, published: [] },
  'before the primary published it': { named: true, published: [] },
  'between the two': { named: true, published: ['primary'] },
  'before the name was cleared': { named: true, published: ['primary', 'mirror'] },
} as const;

interface Stop {
  readonly named: boolean;
  readonly published: readonly ('primary' | 'mirror')[];
}

/** No file of a snapshot is written through it. */
const withoutNewFiles: FileLayer = {
  ...nodeFileLayer,
  open: (path, mode) => {
    if (mode === 'create-exclusive' && path.includes('/snapshot')) {
      return Promise.reject(new Error(`a snapshot is being copied: ${path}`));
    }
    return nodeFileLayer.open(path, mode);
  },
};

function optionsOf({ primary, mirror }: { primary: Family; mirror: Family }): PairFamilyOptions {
  const directory = join(root, String(++places));
  return { primary, mirror, directory: () => directory };
}

/** Prepares `snapshot` on both sides, publishes it as far as `stop` says, and lets go. */
async function stopped(
  options: PairFamilyOptions,
  { snapshot, stop }: { snapshot: ModelSnapshot; stop: Stop },
): Promise<void> {
  const how = { mode: 'create', context: { files: nodeFileLayer } } as const;
  const { instance, engine } = await openPairAt(options, uris, how);
  await applyToInstance(instance, { snapshot: snapshotOf(9n, 'old') });
  const prepared = await prepareSnapshot(instance, snapshot);
  const { primary, mirror, watermark } = engine;
  const named = { index: snapshot.meta.lastIncludedIndex, tag: tagOf(prepared) };
  const position = { index: 0n, term: 0n };
  if (stop.named) await watermark.name({ log: null, snapshot: named }, position);
  for (const side of stop.published) {
    const on: Instance | null = side === 'primary' ? primary : mirror;
    if (on === null) throw new Error('the pair has a mirror');
    const own = preparedOn(prepared, side === 'primary' ? side : { mirror: on });
    await on.apply({ snapshot: own });
  }
  await instance.close();
}

describe.each(pairs)('$name, stopped while both hold a prepared snapshot', (pair) => {
  test.each(Object.entries(stops))(
    '%s: published on both or discarded on both, and never copied [DUAL-7] [I6]',
    async (_, stop) => {
      for (const index of [9n, 12n]) {
        const snapshot = snapshotOf(index, 'new');
        const options = optionsOf(pair);
        await stopped(options, { snapshot, stop });
        const how = { mode: 'read-write', context: { files: withoutNewFiles } } as const;
        const { instance, engine } = await openPairAt(options, uris, how);
        const found = await dumpState(instance);
        const expected = stop.published.length > 0 ? 'new' : 'old';
        expect(JSON.stringify(found.snapshot)).toContain(Buffer.from(expected).toString('hex'));
        expect(engine.mirror && (await dumpState(engine.mirror))).toEqual(found);
        await instance.close();
        const again = await openPairAt(options, uris, how);
        for (const side of [again.engine.primary, again.engine.mirror]) {
          expect(await side?.snapshots.found()).toEqual([]);
        }
        await again.instance.close();
      }
    },
    60_000,
  );
});

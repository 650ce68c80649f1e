import { deepStrictEqual, strictEqual } from 'node:assert/strict';

import { afterAll, beforeAll, describe, test, vi } from 'vitest';

import { emptyModel } from '../../storage/testing/state-model.ts';
import { missing } from '../setup/toolchain.ts';
import { toldIn } from './operation-trace.ts';
import {
  appliedIn,
  atPlaces,
  expectOneOf,
  expectUnfinishedCreation,
  openedAt,
  seed,
  spread,
} from './survivors.ts';
import { digestsBelow, TracedDisk } from './traced-disk.ts';
import { long, testTimeoutMs, TracedProcesses } from './traced-process.ts';
import { lifeModels, lifeMutations, stateText } from './workloads.ts';

/** Past what makes RocksDB write a table (8 MiB), and SQLite a checkpoint (16 MiB). */
const largeBytes = 17 * 1024 * 1024;

vi.setConfig({ testTimeout: testTimeoutMs });

let processes: TracedProcesses;

beforeAll(() => {
  processes = new TracedProcesses();
});

afterAll(() => processes.removeAll());

describe.skipIf(missing('cc')).each(['rocksdb', 'sqlite'])('a life under %s', (scheme) => {
  test('its trace rebuilds the directory to the byte: no call is missed', async () => {
    const run = await processes.runOne({ scheme, workload: 'life', seed, largeBytes });
    const disk = new TracedDisk(run.root);
    disk.play(run.records);
    deepStrictEqual(disk.digests(), digestsBelow(run.root));
  });

  test.each([
    { size: 'small', bytes: 0, places: 32 },
    { size: 'large', bytes: largeBytes, places: 14 },
  ])(
    'of $size mutations, ended by a power loss: all that was acknowledged is there, and at most the next one, whole [LOG-1] [I1] [BOOT-4]',
    async ({ bytes, places }) => {
      const run = await processes.runOne({ scheme, workload: 'life', seed, largeBytes: bytes });
      const models = lifeModels(lifeMutations(seed, bytes));
      const disk = new TracedDisk(run.root);
      let played = 0;
      await atPlaces({ total: run.records.length, places }, async (k) => {
        disk.play(run.records.slice(played, k));
        played = k;
        const told = toldIn(run.records.slice(0, k));
        await processes.withPlace(scheme, async ({ root, uri }) => {
          disk.losePower(seed + k, root);
          if (!told.includes('created')) return expectUnfinishedCreation(uri, emptyModel);
          const applied = appliedIn(told);
          expectOneOf(await openedAt(uri), models.slice(applied, applied + 2));
        });
      });
    },
  );

  test('killed, opened again, then ended by a power loss: what was opened is there [I1] [DUAL-4]', async () => {
    const run = await processes.runOne({ scheme, workload: 'life', seed });
    const models = lifeModels(lifeMutations(seed));
    const beforeSyncs = run.records.flatMap(({ kind }, k) => (kind === 'sync' ? [k] : []));
    const disks = spread(beforeSyncs.length, long ? Infinity : 10).map((i) => {
      const k = beforeSyncs[i - 1] ?? 0;
      const disk = new TracedDisk(run.root);
      disk.play(run.records.slice(0, k));
      const { root } = processes.freshPlace(scheme);
      disk.moveTo(root);
      return { k, disk, root, applied: appliedIn(toldIn(run.records.slice(0, k))) };
    });
    const reopened = await processes.run(
      disks.map(({ root }) => ({ scheme, workload: 'reopen', seed, root })),
    );
    for (const [i, { k, disk, applied }] of disks.entries()) {
      const records = reopened[i]?.records ?? [];
      let played = 0;
      await atPlaces({ total: records.length, places: 3, after: `killed at ${k}` }, async (j) => {
        disk.play(records.slice(played, j));
        played = j;
        const [said] = toldIn(records.slice(0, j));
        await processes.withPlace(scheme, async ({ root, uri }) => {
          disk.losePower(seed + k + j, root);
          const found = await openedAt(uri);
          if (typeof found === 'string') {
            strictEqual(said?.startsWith('opened ') ?? false, false, `what was opened is ${found}`);
            await expectUnfinishedCreation(uri, emptyModel);
          } else if (said?.startsWith('opened ')) strictEqual(`opened ${stateText(found)}`, said);
          else expectOneOf(found, models.slice(applied, applied + 2));
        });
      });
    }
  });
});

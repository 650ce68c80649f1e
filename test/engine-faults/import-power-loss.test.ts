import { deepStrictEqual } from 'node:assert/strict';

import { afterAll, beforeAll, describe, test, vi } from 'vitest';

import { missing } from '../setup/toolchain.ts';
import { toldIn, type TraceRecord } from './operation-trace.ts';
import { atPlaces, expectOneOf, openedAt, resumeImport, seed, unfinished } from './survivors.ts';
import { TracedDisk } from './traced-disk.ts';
import { testTimeoutMs, TracedProcesses } from './traced-process.ts';
import { importedModel } from './workloads.ts';

vi.setConfig({ testTimeout: testTimeoutMs });

let processes: TracedProcesses;

beforeAll(() => {
  processes = new TracedProcesses();
});

afterAll(() => processes.removeAll());

/** The one step that makes an instance is looked at closely. */
function whilePublishing(records: readonly TraceRecord[]): number[] {
  const told = (text: string) =>
    records.findIndex((record) => record.kind === 'told' && record.text === text) + 1;
  const from = told('copied');
  return Array.from({ length: told('published') - from + 1 }, (_, i) => from + i);
}

describe.skipIf(missing('cc')).each(['rocksdb', 'sqlite'])('an import into %s', (scheme) => {
  test('ended by a power loss: it opens only once it is whole, and resumed it ends equivalent [I11] [BOOT-4]', async () => {
    const run = await processes.runOne({ scheme, workload: 'import', seed });
    const model = importedModel(seed);
    const disk = new TracedDisk(run.root);
    let played = 0;
    const dense = whilePublishing(run.records);
    await atPlaces({ total: run.records.length, places: 12, dense }, async (k) => {
      disk.play(run.records.slice(played, k));
      played = k;
      const told = toldIn(run.records.slice(0, k));
      await processes.withPlace(scheme, async ({ root, uri }) => {
        disk.losePower(seed + k, root);
        const found = await openedAt(uri);
        if (typeof found === 'object' || told.includes('published')) {
          deepStrictEqual(told.includes('copied'), true, 'it opens before all was copied');
          return expectOneOf(found, [model]);
        }
        deepStrictEqual(unfinished.includes(found), true, `it is refused by ${found}`);
        await resumeImport(uri);
        expectOneOf(await openedAt(uri), [model]);
      });
    });
  });
});

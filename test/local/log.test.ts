import { describe, expect, test } from 'vitest';

import { hasCode } from '../../core/errors.ts';
import type { Instance } from '../../storage/contracts.ts';
import {
  batchOf,
  entryAt,
  lastIndexOf,
  type EntryBatch,
  type LogEntry,
} from '../../storage/entry-batch.ts';
import { createLocalFamily } from '../../storage/families/local/family.ts';
import { readWhole } from '../../storage/files.ts';
import { appendOf, entriesOf, snapshotOf } from '../../storage/testing/conformance-env.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { dumpState } from '../../storage/testing/state-dump.ts';
import { applyToInstance } from '../../storage/testing/state-model.ts';

const family = createLocalFamily({ maxSegmentBytes: 4096 });
const uris = family.expand('local:///data/a');

async function readEntries(
  instance: Instance,
  range: { from: bigint; to: bigint; maxBytes: number },
): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  for await (const batch of instance.read(range.from, range.to, { maxBytes: range.maxBytes })) {
    for (let i = 0; i < batch.count; i += 1) entries.push(entryAt(batch, i));
  }
  return entries;
}

/** Of every size from nothing to far above a segment's. */
function mixedEntries(count: number): LogEntry[] {
  return Array.from({ length: count }, (_, i) => ({
    index: BigInt(i + 1),
    term: BigInt(1 + Math.floor(i / 10)),
    type: i % 10 === 0 ? 1 : 2,
    payload: Buffer.alloc(i % 10 === 0 ? 0 : (i * 37) % (i % 50 === 7 ? 9000 : 200), i),
  }));
}

async function segmentsOf(files: CrashFileLayer): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const name of (await files.list('/data/a/log')).toSorted()) {
    const bytes = await readWhole(files, `/data/a/log/${name}`, 1e9);
    if (name !== 'log_meta') found.set(name, bytes?.toString('hex') ?? '');
  }
  return found;
}

describe('entries of every size', () => {
  const entries = mixedEntries(600);

  test('appended in any division: the files are the same, and what is read is what was given [FAM-9]', async () => {
    const divisions = [1, 7, 600];
    const results: Map<string, string>[] = [];
    for (const division of divisions) {
      const files = new CrashFileLayer(1);
      const instance = await family.open(uris, 'create', { files });
      for (let start = 0; start < entries.length; start += division) {
        const batches = [batchOf(entries.slice(start, start + division))];
        await instance.apply({ entries: { after: BigInt(start), batches } });
      }
      for (const maxBytes of [1, 100, 5000, 1 << 20]) {
        expect(await readEntries(instance, { from: 1n, to: 600n, maxBytes })).toEqual(entries);
        const part = { from: 130n, to: 131n, maxBytes };
        expect(await readEntries(instance, part)).toEqual(entries.slice(129, 131));
      }
      await instance.close();
      results.push(await segmentsOf(files));
    }
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  });

  test.each([
    ['at once', 600],
    ['opened again at its end, as imports are', 600],
    ['opened again in between', 300],
  ] as const)(
    'staged, published %s: the same files, but for the name of the last one, which is closed [FAM-9]',
    async (way, durable) => {
      const files = new CrashFileLayer(1);
      let staging = await family.stage(uris, { files });
      await staging.append(batchOf(entries.slice(0, durable)));
      if (way !== 'at once') {
        await staging.checkpoint({ firstIndex: 1n, lastIndex: BigInt(durable), note: {} });
        await staging.close();
        staging = await family.stage(uris, { files });
        if (durable < 600) await staging.append(batchOf(entries.slice(durable)));
      }
      await staging.publish();
      const written = new CrashFileLayer(1);
      const instance = await family.open(uris, 'create', { files: written });
      await instance.apply({ entries: { after: 0n, batches: [batchOf(entries)] } });
      await instance.close();
      const [staged, appended] = [await segmentsOf(files), await segmentsOf(written)];
      expect([...staged.values()]).toEqual([...appended.values()]);
      expect([...staged.keys()].at(-1)).toMatch(/_00000000000000000600$/);
      expect([...appended.keys()].at(-1)).toMatch(/^log_inprogress_/);
    },
  );

  test('a batch has at most the bytes asked for, one larger entry aside, and states its CRCs', async () => {
    const files = new CrashFileLayer(1);
    const instance = await family.open(uris, 'create', { files });
    await instance.apply({ entries: { after: 0n, batches: [batchOf(entries)] } });
    let next = 1n;
    for await (const batch of instance.read(1n, 600n, { maxBytes: 1000 })) {
      expect(batch.firstIndex).toBe(next);
      const bytes = (batch.offsets.at(-1) ?? 0) - (batch.offsets[0] ?? 0);
      expect(bytes <= 1000 || batch.count === 1).toBe(true);
      expect(batch.payloadCrc32c).toHaveLength(batch.count);
      next = lastIndexOf(batch) + 1n;
    }
    await instance.close();
  });
});

describe('reading beside a mutation', () => {
  async function withReader(body: (instance: Instance) => Promise<void>): Promise<LogEntry[]> {
    const files = new CrashFileLayer(1);
    const instance = await family.open(uris, 'create', { files });
    await applyToInstance(instance, appendOf(0n, 500));
    const seen: LogEntry[] = [];
    let changed = false;
    for await (const batch of instance.read(1n, 500n, { maxBytes: 300 })) {
      for (let i = 0; i < batch.count; i += 1) seen.push(entryAt(batch, i));
      if (!changed) await body(instance);
      changed = true;
    }
    return seen;
  }

  test('entries that are replaced behind the reader: the old or the new ones, no mixture of bytes', async () => {
    const seen = await withReader((instance) =>
      applyToInstance(instance, { truncate: { lastKept: 250n }, ...appendOf(250n, 250, 2n) }),
    );
    const expected = [...entriesOf(1n, 250n), ...entriesOf(251n, 500n, 2n)];
    expect(seen).toEqual(expected);
  });

  test('a tail that is replaced again and again: a passing batch keeps its bytes until the one after the next is asked for', async () => {
    const instance = await family.open(uris, 'create', { files: new CrashFileLayer(1) });
    await applyToInstance(instance, appendOf(0n, 500));
    const replaceTail = () =>
      applyToInstance(instance, { truncate: { lastKept: 495n }, ...appendOf(495n, 5, 1n) });
    const entriesIn = (batch: EntryBatch) =>
      Array.from({ length: batch.count }, (_, i) => entryAt(batch, i));
    const reading = instance.read(1n, 400n, { maxBytes: 300, passing: true });
    const batches = reading[Symbol.asyncIterator]();
    let held: EntryBatch | null = null;
    for (;;) {
      const asked = batches.next();
      await replaceTail();
      const { value, done } = await asked;
      if (held !== null) {
        expect(entriesIn(held)).toEqual(entriesOf(held.firstIndex, lastIndexOf(held), 1n));
      }
      if (done === true) break;
      held = value;
    }
    await instance.close();
  });

  test('a segment that is closed under the reader: read on', async () => {
    const seen = await withReader((instance) => applyToInstance(instance, appendOf(500n, 200)));
    expect(seen).toEqual(entriesOf(1n, 500n));
  });

  test('entries that are gone: refused by name', async () => {
    const reading = withReader((instance) =>
      applyToInstance(instance, { truncate: { lastKept: 100n } }),
    );
    expect(hasCode(await reading.catch((e: unknown) => e), 'log.out-of-range')).toBe(true);
  });
});

describe('a failing disk', () => {
  test.each(['sync', 'write', 'rename'] as const)(
    '%s fails behind an import: no checkpoint comes after it, however often it is asked for [LOG-8] [BOOT-4]',
    async (operation) => {
      for (let nth = 1; nth <= 3; nth += 1) {
        const files = new CrashFileLayer(nth);
        const staging = await family.stage(uris, { files });
        await staging.begin(1n);
        files.failAt({ operation, code: operation === 'write' ? 'ENOSPC' : 'EIO', nth });
        let lastIndex = 0n;
        for (const entry of entriesOf(1n, 900n, 1n)) {
          const taken = await staging.append(batchOf([entry])).then(
            () => true,
            () => false,
          );
          if (taken) lastIndex = entry.index;
          else break;
        }
        const checkpoint = () => staging.checkpoint({ firstIndex: 1n, lastIndex, note: {} });
        await expect(checkpoint()).rejects.toThrow(/EIO|ENOSPC/);
        await expect(checkpoint()).rejects.toThrow(/EIO|ENOSPC/);
        await staging.close();
      }
    },
  );

  test.each(['sync', 'write', 'rename', 'syncDirectory'] as const)(
    '%s fails: the handle takes no more changes; what opening again finds is durable [LOG-8]',
    async (operation) => {
      for (let nth = 1; nth <= 5; nth += 1) {
        const files = new CrashFileLayer(nth);
        const instance = await family.open(uris, 'create', { files });
        await applyToInstance(instance, appendOf(0n, 150));
        files.failAt({ operation, code: operation === 'write' ? 'ENOSPC' : 'EIO', nth });
        await expect(applyToInstance(instance, appendOf(150n, 600))).rejects.toThrow(/EIO|ENOSPC/);
        const poisoned = await instance.apply({ meta: { term: 9n } }).catch((e: unknown) => e);
        expect(hasCode(poisoned, 'instance.poisoned')).toBe(true);
        await instance.close();
        const reopened = await family.open(uris, 'read-write', { files });
        const found = await dumpState(reopened);
        await reopened.close();
        expect(found.entries.length).toBeGreaterThanOrEqual(150);
        const after = files.afterCrash(nth);
        const again = await family.open(uris, 'read-write', { files: after });
        expect(await dumpState(again)).toEqual(found);
        await again.close();
      }
    },
  );
});

describe('limits [FAM-10]', () => {
  test('an index above the largest, in an append or a staging: refused', async () => {
    const files = new CrashFileLayer(1);
    const instance = await family.open(uris, 'create', { files });
    const max = 2n ** 63n - 2n;
    await applyToInstance(instance, { reset: max, ...appendOf(max - 1n, 1) });
    const above = await applyToInstance(instance, appendOf(max, 1)).catch((e: unknown) => e);
    expect(hasCode(above, 'limit.exceeded')).toBe(true);
    await instance.close();
    const reopened = await family.open(uris, 'read-only', { files });
    expect(await readEntries(reopened, { from: max, to: max, maxBytes: 99 })).toHaveLength(1);
    await reopened.close();
    const staging = await family.stage(family.expand('local:///data/b'), { files });
    const zero = await staging.begin(0n).catch((e: unknown) => e);
    expect(hasCode(zero, 'limit.exceeded')).toBe(true);
    await staging.close();
  });

  test('no snapshot place: none is read, none is taken', async () => {
    const files = new CrashFileLayer(1);
    const bare = { ...uris, snapshot: '' };
    const instance = await family.open(bare, 'create', { files });
    expect(await instance.snapshots.latest()).toBeNull();
    const begun = await instance.snapshots.begin(snapshotOf(1n, 'x').meta).catch((e: unknown) => e);
    expect(hasCode(begun, 'limit.exceeded')).toBe(true);
    await instance.close();
  });
});

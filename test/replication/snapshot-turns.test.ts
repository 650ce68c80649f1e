import { describe, expect, test } from 'vitest';

import { createLocalFamily } from '../../storage/families/local/family.ts';
import { memoryFamily } from '../../storage/families/memory/family.ts';
import type { Family, SnapshotMeta, SnapshotReader } from '../../storage/contracts.ts';
import { rejectsWith, snapshotOf } from '../../storage/testing/conformance-env.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { openPairAt } from './pair-family.ts';

const local = createLocalFamily({ maxSegmentBytes: 400 });
const files = new CrashFileLayer(1);
let places = 0;

async function openPairOf(primary: Family, mirror: Family) {
  places += 1;
  const at = `/pair-${places}`;
  return openPairAt(
    { primary, mirror, directory: () => at },
    { log: 'pair:', meta: 'pair:', snapshot: 'pair:' },
    { mode: 'create', context: { files } },
  );
}

const metaAt = (index: bigint): SnapshotMeta => snapshotOf(index, `at ${index}`).meta;
const file = { path: 'state.bin', userMeta: null };

async function contentOf(reader: SnapshotReader | null): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of reader?.read(file.path) ?? []) pieces.push(Buffer.from(piece));
  await reader?.close();
  return Buffer.concat(pieces).toString();
}

/** Bytes that come, and then none for ever. */
async function* stalling(first: string): AsyncGenerator<Buffer> {
  yield Buffer.from(first);
  await new Promise(() => {});
}

describe('a snapshot that begins while another one', () => {
  test('is being written: that one has ended, whatever its giver does; both sides get the new one [LOG-7] [DUAL-7]', async () => {
    const { instance, engine } = await openPairOf(local, local);
    const earlier = await instance.snapshots.begin(metaAt(5n));
    const written = earlier.file(file, stalling('earlier'));
    written.catch(() => {});
    const later = await instance.snapshots.begin(metaAt(7n));
    await expect(written).rejects.toMatchObject({ code: 'instance.closed' });
    await rejectsWith('instance.closed', () => earlier.prepare());
    await later.file(file, [Buffer.from('later')]);
    await earlier.abort();
    await instance.apply({ snapshot: await later.prepare() });
    expect(engine.mirror).not.toBeNull();
    for (const side of [engine.primary, engine.mirror]) {
      expect(await contentOf((await side?.snapshots.latest()) ?? null)).toBe('later');
    }
  });

  test('is prepared: it begins once that one is published, which is whole [LOG-7] [I6]', async () => {
    const { instance, engine } = await openPairOf(local, local);
    const earlier = await instance.snapshots.begin(metaAt(5n));
    await earlier.file(file, [Buffer.from('earlier')]);
    const prepared = await earlier.prepare();
    const begun = instance.snapshots.begin(metaAt(7n));
    await instance.apply({ snapshot: prepared });
    for (const side of [engine.primary, engine.mirror]) {
      expect(await contentOf((await side?.snapshots.latest()) ?? null)).toBe('earlier');
    }
    const later = await begun;
    await later.file(file, [Buffer.from('later')]);
    await instance.apply({ snapshot: await later.prepare() });
    expect(await contentOf(await instance.snapshots.latest())).toBe('later');
  });
});

describe('a snapshot that could not be prepared', () => {
  test('keeps no other waiting, though its giver does not abort it', async () => {
    const { instance } = await openPairOf(local, local);
    const earlier = await instance.snapshots.begin(metaAt(5n));
    files.failAt({ operation: 'create', code: 'EIO', nth: 1 });
    await expect(earlier.prepare()).rejects.toThrow('EIO');
    const later = await instance.snapshots.begin(metaAt(7n));
    await later.file(file, [Buffer.from('later')]);
    await instance.apply({ snapshot: await later.prepare() });
    expect(await contentOf(await instance.snapshots.latest())).toBe('later');
  });
});

describe('the sides of a pair', () => {
  test('change between two snapshots: one that begins at that moment waits for it [CUT-2] [DUAL-7]', async () => {
    const { instance, engine } = await openPairOf(local, local);
    const { primary } = engine;
    const begun = instance.snapshots.begin(metaAt(5n));
    let hasSwapped = false;
    const changed = engine.snapshots.between(async () => {
      for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
      engine.swap();
      hasSwapped = true;
    });
    const writer = await begun;
    await changed;
    await writer.file(file, [Buffer.from('five')]);
    await instance.apply({ snapshot: await writer.prepare() });
    expect(engine.primary === primary).toBe(!hasSwapped);
    expect(await contentOf((await engine.mirror?.snapshots.latest()) ?? null)).toBe('five');
  });

  test('are free again when a snapshot could not be published [LOG-8]', async () => {
    const { instance, engine } = await openPairOf(local, local);
    const writer = await instance.snapshots.begin(metaAt(5n));
    await writer.file(file, [Buffer.from('five')]);
    const snapshot = await writer.prepare();
    files.failAt({ operation: 'syncDirectory', code: 'EIO', nth: 1 });
    await expect(instance.apply({ snapshot })).rejects.toThrow('EIO');
    await engine.snapshots.ended();
  });
});

describe('a snapshot file that only the primary could hold', () => {
  test('is refused, and the mirror stays [FAM-10] [DUAL-8]', async () => {
    const { instance, engine } = await openPairOf(memoryFamily, local);
    const writer = await instance.snapshots.begin(metaAt(5n));
    const foreign = { path: 'state.bin', userMeta: Buffer.from('no LocalFileMeta') };
    await rejectsWith('limit.exceeded', () => writer.file(foreign, [Buffer.from('five')]));
    await rejectsWith('limit.exceeded', () => writer.prepare());
    await writer.abort();
    expect(engine.mirror).not.toBeNull();
    expect(await instance.snapshots.latest()).toBeNull();
  });
});

import { describe, expect, onTestFinished, test } from 'vitest';

import { ServedReplica, type ServedReplicaOptions } from '../../host/served-replica.ts';
import { equivalenceReportSchema } from '../../schemas/equivalence-report.ts';
import { readProof } from '../../storage/equivalence/proof.ts';
import { readWhole } from '../../storage/files.ts';
import { batchOf, entryHeaderBytes, type LogEntry } from '../../storage/entry-batch.ts';
import { createLocalFamily } from '../../storage/families/local/family.ts';
import { FamilyRegistry } from '../../storage/family-registry.ts';
import type { FileLayer } from '../../storage/file-layer.ts';
import { withPinned } from '../../storage/replication/pinned-pair.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { memoryFamily } from '../../storage/families/memory/family.ts';
import { openPairAt } from '../replication/pair-family.ts';
import { FailingFiles } from './failing-files.ts';

const families = new FamilyRegistry([createLocalFamily({ maxSegmentBytes: 1024 * 1024 })]);
const replica = { cluster: 'kv', member: 'n1' };
const entryBytes = 1024;
/** In two segments and more, so that what is read can be cut off. */
const entries = 4000n;
const wholeBytes = 2 * Number(entries) * entryBytes;
/** Of both sides: a leaf where the log begins, and one where the changes do. */
const leafBytes = 2 * 64 * entryBytes;

function optionsOn(files: FileLayer, fullValidationEverySeconds: number): ServedReplicaOptions {
  return {
    files,
    families,
    stateDir: '/state',
    replica,
    uris: families.expand('local:///data/a'),
    create: true,
    policy: { onFailure: 'fail', limitMs: null },
    fullValidationEverySeconds,
    by: 'test',
    log: () => {},
  };
}

function entriesAfter(after: bigint, count: number) {
  const list: LogEntry[] = Array.from({ length: count }, (_, i) => {
    const index = after + 1n + BigInt(i);
    const payload = Buffer.alloc(entryBytes - entryHeaderBytes, Number(index % 251n));
    return { index, term: 1n, type: 2, payload };
  });
  return { after, batches: [batchOf(list)] };
}

/** A replica in dual write with {@link entries}. */
async function paired(fullEverySeconds = 86_400) {
  const disk = new CrashFileLayer(1);
  const failing = new FailingFiles(disk);
  const served = await ServedReplica.start(optionsOn(failing.layer, fullEverySeconds));
  onTestFinished(() => served.close());
  let { epoch } = await served.open({ opener: '', resumes: 0n });
  await served.apply(epoch, { entries: entriesAfter(0n, Number(entries)) });
  await served.mirror.begin(families.expand('local:///mirrors/b'));
  await served.mirror.bootstrap();
  let last = entries;
  const append = async (count: number) => {
    await served.apply(epoch, { entries: entriesAfter(last, count) });
    last += BigInt(count);
  };
  const reopen = async () => {
    ({ epoch } = await served.open({ opener: '', resumes: 0n }));
  };
  const truncate = (firstKept: bigint) => served.apply(epoch, { truncate: { firstKept } });
  return { disk, failing, served, append, reopen, truncate };
}

const readBy = async (proving: Promise<{ bytesRead: number }>) => (await proving).bytesRead;

describe('a proof after an earlier one of the same two instances', () => {
  test('reads what was appended since, and two leaves; through a cutover and back, and after a prefix truncation [EQ-3] [EQ-5]', async () => {
    const { served, append, truncate } = await paired();
    const { mirror } = served;
    expect(await readBy(mirror.prove())).toBe(wholeBytes);
    await append(3);
    const few = 2 * leafBytes + 2 * 3 * entryBytes;
    expect(await readBy(mirror.prove())).toBeLessThanOrEqual(few);
    await mirror.cutOver();
    await append(3);
    expect(await readBy(mirror.prove())).toBeLessThanOrEqual(few + 2 * 3 * entryBytes);
    await mirror.cutOver();
    await truncate(1001n);
    await append(3);
    const { bytesRead, proof } = await mirror.prove();
    expect(bytesRead).toBeGreaterThan(0);
    expect(bytesRead).toBeLessThanOrEqual(few + 2 * 6 * entryBytes);
    const full = await mirror.prove({ readWithinSeconds: 0 });
    expect(full.bytesRead).toBe(2 * Number(entries - 1000n + 9n) * entryBytes);
    expect(full.proof.parts).toEqual(proof.parts);
  });

  test('its file says since when all was read back; a full read begins anew after its time [EQ-3]', async () => {
    const { disk, served, append } = await paired();
    const { mirror, store } = served;
    const first = await mirror.prove();
    await append(1);
    const second = await mirror.prove();
    expect(second.proof.readSince).toBe(first.proof.readSince);
    expect(mirror.lastValidation).toMatchObject({
      readSince: first.proof.readSince,
      bytesRead: second.bytesRead,
    });
    const onFile = await readProof(disk, `${store.directory.proofs}/${second.file}`);
    expect(onFile).toEqual(second.proof);
    const each = await paired(0);
    await each.served.mirror.prove();
    expect(await readBy(each.served.mirror.prove())).toBe(wholeBytes);
  });

  test('that finds a difference keeps its report, and says where; a disk that takes none hides no difference [EQ-4]', async () => {
    const { disk, failing, served, append } = await paired();
    const { mirror, store } = served;
    await mirror.prove();
    await append(1);
    const behind = mirror.sides.mirror;
    if (behind === null) throw new Error('it has a mirror');
    await behind.apply({ truncate: { lastKept: entries } });
    const said = await mirror.prove().then(
      () => null,
      (error: unknown) => error,
    );
    expect(said).toMatchObject({ code: 'state.different' });
    const [, file = ''] = /\(report: ([\w-]+\.json)\)$/.exec(String(said)) ?? [];
    const path = `${store.directory.proofs}/${file}`;
    const bytes = await readWhole(disk, path, 64 * 1024);
    const report = equivalenceReportSchema.parse(JSON.parse(String(bytes)));
    expect(report.differences[0]).toMatchObject({ part: 'log', index: `${entries + 1n}` });
    failing.refused = /difference/;
    await expect(mirror.prove()).rejects.toThrow(/could not be kept: .*EIO/);
    failing.refused = null;
  });

  test('reads all of both again after a new mirror, after the store was opened again, and in another process [EQ-5] [LOG-8]', async () => {
    const { disk, failing, served, append, reopen } = await paired();
    const { mirror } = served;
    await mirror.prove();
    await mirror.drop();
    expect(mirror.lastValidation).toBeNull();
    await mirror.begin(families.expand('local:///mirrors/b'));
    await mirror.bootstrap();
    expect(await readBy(mirror.prove())).toBe(wholeBytes);
    failing.refused = /mirrors\/b/;
    // It needs another segment.
    await expect(append(1100)).rejects.toThrow('EIO');
    failing.refused = null;
    await reopen();
    expect(await readBy(mirror.prove())).toBeGreaterThanOrEqual(wholeBytes);
    await served.close();
    const next = await ServedReplica.start(optionsOn(disk, 86_400));
    onTestFinished(() => next.close());
    expect(await readBy(next.mirror.prove())).toBeGreaterThanOrEqual(wholeBytes);
  });
});

describe('a proof that is cut off', () => {
  test('goes on where it stopped, beside writing, and with a full read asked for [EQ-3]', async () => {
    const { served, append } = await paired();
    const stop = new AbortController();
    let seen = 0;
    const cutOff = served.mirror.prove({
      signal: stop.signal,
      onProgress: ({ bytesDone }) => {
        seen = bytesDone;
        if (bytesDone > wholeBytes / 2) stop.abort(new Error('cut off'));
      },
    });
    await expect(cutOff).rejects.toThrow('cut off');
    await append(3);
    const { bytesRead, proof } = await served.mirror.prove({ readWithinSeconds: 0 });
    expect(bytesRead).toBeLessThanOrEqual(wholeBytes - seen + 2 * leafBytes + 2 * 3 * entryBytes);
    const full = await served.mirror.prove({ readWithinSeconds: 0 });
    expect(full.bytesRead).toBe(wholeBytes + 2 * 3 * entryBytes);
    expect(full.proof.parts).toEqual(proof.parts);
  });
});

describe('a byte of the mirror that nobody wrote', () => {
  /** Flips one in the payload of an entry, in whichever segment holds it. */
  async function damage(disk: CrashFileLayer, at: 'middle' | 'end'): Promise<void> {
    const directory = '/mirrors/b/log';
    const segments = (await disk.list(directory)).filter((name) => /^log_.*\d/.test(name));
    const name = segments.toSorted().at(at === 'middle' ? 1 : -1) ?? '';
    const file = await disk.open(`${directory}/${name}`, 'read-write');
    const offset = at === 'middle' ? 100 : (await file.size()) - 100;
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, offset);
    byte.writeUInt8(byte.readUInt8(0) ^ 1);
    await file.write(byte, offset);
    await file.close();
  }

  test('where something was appended: found. Below it: found by the next full read [EQ-3] [EQ-5]', async () => {
    const { disk, served, append } = await paired();
    const { mirror } = served;
    await mirror.prove();
    await damage(disk, 'middle');
    await append(3);
    await mirror.prove();
    await expect(mirror.prove({ readWithinSeconds: 0 })).rejects.toMatchObject({
      code: 'data.corrupt',
    });
    const other = await paired();
    await other.served.mirror.prove();
    await other.append(3);
    await damage(other.disk, 'end');
    await expect(other.served.mirror.prove()).rejects.toMatchObject({ code: 'data.corrupt' });
  });
});

test('whoever keeps track of a cut knows what has changed since, whenever it asked for that [EQ-5]', async () => {
  const uris = { log: '/kept', meta: '/kept', snapshot: '/kept' };
  const family = { primary: memoryFamily, mirror: memoryFamily, directory: () => '/kept' };
  const context = { files: new CrashFileLayer(1) };
  const pair = await openPairAt(family, uris, { mode: 'create', context });
  await pair.instance.apply({ entries: entriesAfter(0n, 10) });
  await withPinned(pair, async ({ keep }) => {
    await pair.instance.apply({ truncate: { lastKept: 4n } });
    const kept = keep();
    expect(kept.lowestIndex).toBe(5n);
    await pair.instance.apply({ truncate: { lastKept: 2n } });
    expect(kept.lowestIndex).toBe(3n);
  });
  await pair.instance.close();
});

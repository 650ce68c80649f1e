import { setImmediate } from 'node:timers/promises';

import { describe, expect, test } from 'vitest';

import { createLocalFamily } from '../../storage/families/local/family.ts';
import type { Instance, SnapshotMeta } from '../../storage/contracts.ts';
import type { Pair } from '../../storage/replication/open-pair.ts';
import { batchOf } from '../../storage/entry-batch.ts';
import { entriesOf, snapshotOf } from '../../storage/testing/conformance-env.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { openPairAt } from './pair-family.ts';
import { StandingFiles } from './standing-files.ts';

const local = createLocalFamily({ maxSegmentBytes: 400 });
const file = { path: 'state.bin', userMeta: null };
const limitMs = 50;
let places = 0;

/** A pair whose mirror's disk can be made to stand still. */
async function openPair(onFailure: 'detach' | 'fail') {
  places += 1;
  const at = `/late-${places}`;
  const disk = new CrashFileLayer(1);
  const standing = new StandingFiles(disk);
  const left: string[] = [];
  const pair = await openPairAt(
    {
      primary: local,
      mirror: local,
      directory: () => at,
      onFailure,
      limitMs,
      detached: async (cause) => void left.push(cause.message),
      filesOf: (side, files) => (side === 'mirror' ? standing.layer : files),
    },
    { log: 'pair:', meta: 'pair:', snapshot: 'pair:' },
    { mode: 'create', context: { files: disk } },
  );
  return { pair, standing, left };
}

async function publish({ instance }: Pair, index: bigint, content: string): Promise<void> {
  const meta: SnapshotMeta = snapshotOf(index, `at ${index}`).meta;
  const writer = await instance.snapshots.begin(meta);
  await writer.file(file, [Buffer.from(content), Buffer.from('.')]);
  await instance.apply({ snapshot: await writer.prepare() });
}

async function contentOf(side: Instance | null): Promise<string> {
  const reader = (await side?.snapshots.latest()) ?? null;
  const pieces: Buffer[] = [];
  for await (const piece of reader?.read(file.path) ?? []) pieces.push(Buffer.from(piece));
  await reader?.close();
  return Buffer.concat(pieces).toString();
}

/** Where a mirror's disk may stand still while a snapshot is written. */
const standsAt = {
  'it begins': /^makeDirectory .*temp/,
  'its bytes are written': /^write .*state\.bin/,
  'its file is synced': /^sync .*state\.bin/,
  'it is prepared': /^open .*temp\/__raft_snapshot_meta/,
} as const;

describe.each(Object.entries(standsAt))('a mirror that does not answer when %s', (_, stands) => {
  test('detach: it is left within its time, and the snapshot is published on the primary; it counts as closed once it has answered [DUAL-8]', async () => {
    const { pair, standing, left } = await openPair('detach');
    standing.stand(stands);
    await publish(pair, 5n, 'five');
    expect(pair.engine.mirror).toBeNull();
    expect(left).toEqual([expect.stringContaining(`more than ${limitMs} ms longer`)]);
    expect(await contentOf(pair.instance)).toBe('five.');
    let isClosed = false;
    const closed = pair.engine.leftIsClosed.then(() => (isClosed = true));
    for (let turn = 0; turn < 20; turn += 1) await setImmediate();
    expect(isClosed).toBe(false);
    standing.goOn();
    await closed;
    await publish(pair, 6n, 'six');
    await pair.instance.close();
  });

  test('fail: the snapshot is refused within its time; once it has answered both take the next [DUAL-8]', async () => {
    const { pair, standing, left } = await openPair('fail');
    standing.stand(stands);
    for (const index of [5n, 6n]) {
      await expect(publish(pair, index, 'lost')).rejects.toMatchObject({
        code: 'pair.mirror-failed',
      });
    }
    standing.goOn();
    await publish(pair, 7n, 'seven');
    const { primary, mirror } = pair.engine;
    expect([await contentOf(primary), await contentOf(mirror)]).toEqual(['seven.', 'seven.']);
    expect(left).toEqual([]);
    await pair.instance.close();
  });
});

test('a mirror that does not answer while a snapshot is given up does not hold the next one up [DUAL-8] [LOG-7]', async () => {
  const { pair, standing } = await openPair('detach');
  const writer = await pair.instance.snapshots.begin(snapshotOf(5n, 'five').meta);
  await writer.file(file, [Buffer.from('five')]);
  standing.stand(/^remove.* .*temp/);
  await writer.abort();
  expect(pair.engine.mirror).toBeNull();
  await publish(pair, 6n, 'six');
  standing.goOn();
  await pair.instance.close();
});

test('a mirror that answers neither an append nor a snapshot is left once, and counts as closed once it has answered both [DUAL-8]', async () => {
  const { pair, standing } = await openPair('detach');
  standing.stand(/^(write|sync) /);
  const entries = { after: 0n, batches: [batchOf(entriesOf(1n, 1n))] };
  await Promise.all([publish(pair, 5n, 'five'), pair.instance.apply({ entries })]);
  expect(pair.engine.mirror).toBeNull();
  let isClosed = false;
  const closed = pair.engine.leftIsClosed.then(() => (isClosed = true));
  for (let turn = 0; turn < 20; turn += 1) await setImmediate();
  expect(isClosed).toBe(false);
  standing.goOn();
  await closed;
  await pair.instance.close();
});

import { describe, expect, test } from 'vitest';

import { sliceBatch, batchOf } from '../../storage/entry-batch.ts';
import { digestInstance } from '../../storage/equivalence/state-digest.ts';
import { LogDigest, type LogDigestState } from '../../storage/image/digest-tree.ts';
import { seededRandom } from '../../storage/testing/seeded-random.ts';
import { createInstance, sampleEntries, sampleInstance } from '../image/sample-state.ts';

test('the digest of a log does not depend on how it was cut into batches [IMG-7]', () => {
  const seed = Date.now() % 1_000_000;
  const random = seededRandom(seed);
  const firstIndex = 4000n;
  const whole = batchOf(sampleEntries({ entries: 9000, firstIndex, maxPayloadBytes: 40 }));
  const once = new LogDigest(firstIndex);
  once.append(whole);
  const pieces = new LogDigest(firstIndex);
  for (let at = 0; at < whole.count;) {
    const end = Math.min(whole.count, at + 1 + random.below(300));
    pieces.append(sliceBatch(whole, at, end));
    at = end;
    if (random.chance()) pieces.root();
  }
  expect(pieces.root(), `seed ${seed}`).toEqual(once.root());
  expect(once.nodes().length).toBe(4);
});

test('a digest continued from any checkpoint, through JSON, is the digest of the whole log', () => {
  const firstIndex = 100n;
  const whole = batchOf(sampleEntries({ entries: 13_000, firstIndex, maxPayloadBytes: 20 }));
  const once = new LogDigest(firstIndex);
  once.append(whole);
  for (const stop of [0, 1, 3995, 3996, 3997, 8092, 12_999, 13_000]) {
    const before = new LogDigest(firstIndex);
    if (stop > 0) before.append(sliceBatch(whole, 0, stop));
    const state: LogDigestState = JSON.parse(JSON.stringify(before.checkpoint()));
    const after = new LogDigest(firstIndex, { resume: state });
    const start = Number(after.nextIndex - firstIndex);
    expect(stop - start).toBeLessThan(4096);
    after.append(sliceBatch(whole, start, whole.count));
    expect(after.root(), `stopped at ${stop}`).toEqual(once.root());
  }
});

describe('the state digest changes', () => {
  const changes = {
    'with the position of an empty log': { entries: 0, firstIndex: 2n },
    'with an entry': { entries: 1 },
    'with the absence of the snapshot': { entries: 0, files: null },
    'with a file name': { entries: 0, files: { other: 0 } },
    'with an empty file': { entries: 0, files: {} },
  } as const;
  test.each(Object.entries(changes))('%s [EQ-1]', async (_, options) => {
    const base = await digestInstance(await sampleInstance({ entries: 0, files: { empty: 0 } }));
    expect((await digestInstance(await sampleInstance(options))).root).not.toBe(base.root);
  });

  test('but not between the two spellings of "no vote" [EQ-1]', async () => {
    const [a, b] = [await createInstance(), await createInstance()];
    await a.apply({ meta: { term: 3n, votedFor: Buffer.from('0.0.0.0:0:0:0') } });
    await b.apply({ meta: { term: 3n, votedFor: Buffer.alloc(0) } });
    expect((await digestInstance(a)).root).toBe((await digestInstance(b)).root);
  });
});

test('a digest interrupted and continued reads only what is left and is the same', async () => {
  const instance = await sampleInstance({ entries: 30_000, maxPayloadBytes: 300 });
  const whole = await digestInstance(instance);
  let state: LogDigestState | undefined;
  const controller = new AbortController();
  const interrupted = digestInstance(instance, {
    signal: controller.signal,
    onProgress: ({ entriesDone, checkpoint }) => {
      if (entriesDone < 15_000) return;
      state = checkpoint();
      controller.abort(new Error('interrupted'));
    },
  });
  await expect(interrupted).rejects.toThrow('interrupted');
  let bytes = 0;
  const resumed = await digestInstance(instance, {
    ...(state && { resume: state }),
    onProgress: ({ bytesDone }) => (bytes = bytesDone),
  });
  expect(resumed.root).toBe(whole.root);
  expect(bytes).toBeLessThan(30_000 * 174 * 0.7);
});

test('a digest is not continued on another range', async () => {
  const instance = await sampleInstance({ entries: 10 });
  const resume = { firstIndex: '2', nextIndex: '2', nodes: '' };
  await expect(digestInstance(instance, { resume })).rejects.toMatchObject({
    code: 'image.resume-mismatch',
  });
});

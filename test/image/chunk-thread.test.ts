import { createHash } from 'node:crypto';

import { crc32c } from '@node-rs/crc32';
import { beforeAll, describe, expect, test } from 'vitest';

import { QuorumshiftError } from '../../core/errors.ts';
import {
  batchOf,
  canonicalBytes,
  EntryType,
  payloadAt,
  type EntryBatch,
} from '../../storage/entry-batch.ts';
import { ChunkMemory, ChunkThread } from '../../storage/image/chunk-thread.ts';
import { lz4Flag, Section } from '../../storage/image/image-format.ts';
import { readImage } from '../../storage/image/image-reader.ts';
import { seededRandom } from '../../storage/testing/seeded-random.ts';
import { framesOf, imageOfFrames, type TestFrame } from './reframe.ts';
import { createInstance, imageOf, piecesOf, sampleBytes } from './sample-state.ts';

/** An image of a log: some chunks compressed, some not, one entry larger than a chunk. */
let image: Buffer;

beforeAll(async () => {
  const random = seededRandom(1);
  const noise = (bytes: number) =>
    Buffer.from(Array.from({ length: bytes }, () => random.below(256)));
  const payloads = [
    ...Array.from({ length: 900 }, (_, i) => sampleBytes(i * 3, i)),
    ...Array.from({ length: 900 }, (_, i) => noise(i * 3)),
    sampleBytes(2_000_000, 5),
    ...Array.from({ length: 900 }, (_, i) => sampleBytes(i * 3, i)),
  ];
  const source = await createInstance();
  const type = EntryType.DATA;
  const entries = payloads.map((payload, i) => ({ index: BigInt(i + 1), term: 1n, type, payload }));
  await source.apply({ entries: { after: 0n, batches: [batchOf(entries)] } });
  image = await imageOf(source);
});

interface Reading {
  /** SHA-256 of each batch's bytes while it was valid. */
  readonly batches: string[];
  /** Whether the batch said what its payloads' checksums are, and they are that. */
  readonly checksums: ('none' | 'right' | 'wrong')[];
  readonly refusal: string | null;
}

function judge(batch: EntryBatch): Reading['checksums'][number] {
  const stated = batch.payloadCrc32c;
  if (stated === undefined) return 'none';
  const actual = Array.from({ length: batch.count }, (_, i) => crc32c(payloadAt(batch, i)));
  return stated.join() === actual.join() ? 'right' : 'wrong';
}

async function read(bytes: Buffer, options: { readonly byThread: boolean }): Promise<Reading> {
  const batches: string[] = [];
  const checksums: Reading['checksums'] = [];
  const threadFromBytes = options.byThread ? 0 : Infinity;
  const how = { passing: true, payloadCrc32c: true, threadFromBytes };
  try {
    for await (const section of readImage(piecesOf(bytes), how)) {
      if (section.kind !== 'entries') continue;
      batches.push(createHash('sha256').update(canonicalBytes(section.batch)).digest('hex'));
      checksums.push(judge(section.batch));
    }
  } catch (error) {
    if (!(error instanceof QuorumshiftError)) throw error;
    return { batches, checksums, refusal: error.message };
  }
  return { batches, checksums, refusal: null };
}

describe('chunks that a thread checks', () => {
  test('are those that reading alone gives, each payload with its checksum', async () => {
    const alone = await read(image, { byThread: false });
    const byThread = await read(image, { byThread: true });
    expect(byThread.batches).toEqual(alone.batches);
    // Alone, only of what is not compressed; of the large entry, which comes in pieces, never.
    expect(new Set(alone.checksums)).toEqual(new Set(['none', 'right']));
    expect(byThread.checksums.filter((found) => found !== 'right')).toEqual(['none']);
  });

  test('are refused when they are altered, in the words of reading alone [IMG-5]', async () => {
    const frames = framesOf(image);
    const plain = frames.findIndex(({ section, flags }) => section === Section.LOG && flags === 0);
    const packed = frames.findLastIndex(({ flags }) => flags === lz4Flag);
    const altered = [
      flipped(frames, plain),
      flipped(frames, packed),
      forged(frames, packed, ({ contentBytes }) => ({ contentBytes: contentBytes + 1 })),
      forged(frames, packed, ({ contentBytes }) => ({ contentBytes: contentBytes - 1 })),
      forged(frames, packed, ({ stored }) => ({ stored: stored.fill(0xff, 4) })),
      forged(frames, packed, ({ stored }) => ({ stored: stored.subarray(0, -1) })),
    ];
    for (const bytes of altered) {
      const alone = await read(bytes, { byThread: false });
      expect(alone.refusal).not.toBeNull();
      const byThread = await read(bytes, { byThread: true });
      expect(byThread.refusal).toBe(alone.refusal);
      expect(byThread.batches).toEqual(alone.batches);
    }
  });
});

test('a thread that has ended checks nothing', async () => {
  const thread = new ChunkThread(new ChunkMemory());
  const chunk = { turn: 0, storedBytes: 10, storedCrc: 0, contentBytes: null };
  const { crc } = await thread.check(chunk);
  expect(crc).toBe(crc32c(Buffer.alloc(10)));
  await thread.end();
  await expect(thread.check(chunk)).rejects.toThrow('has ended');
});

/** The image with one byte of what frame `i` stores changed, its checksum as it was. */
function flipped(frames: readonly TestFrame[], i: number): Buffer {
  const before = imageOfFrames(image, frames.slice(0, i));
  const middle = before.length + 32 + ((frames[i]?.stored.length ?? 0) >>> 1);
  const bytes = Buffer.from(image);
  bytes.writeUInt8(bytes.readUInt8(middle) ^ 0x10, middle);
  return bytes;
}

/** The image with frame `i` changed and every checksum made right. */
function forged(
  frames: readonly TestFrame[],
  i: number,
  change: (frame: TestFrame) => Partial<TestFrame>,
): Buffer {
  const changed = frames.map((frame, at) => {
    const own = { ...frame, stored: Buffer.from(frame.stored) };
    return at === i ? { ...own, ...change(own) } : own;
  });
  return imageOfFrames(image, changed);
}

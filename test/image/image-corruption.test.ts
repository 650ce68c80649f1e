import { beforeAll, describe, expect, test } from 'vitest';

import { hasCode } from '../../core/errors.ts';
import { frameHeaderBytes, preambleBytes } from '../../storage/image/image-format.ts';
import { unpack } from '../../storage/lz4.ts';
import { verifyImage } from '../../storage/image/transfer-image.ts';
import { seededRandom } from '../../storage/testing/seeded-random.ts';
import { framesOf, imageOfFrames, type TestFrame } from './reframe.ts';
import { imageOf, piecesOf, sampleInstance } from './sample-state.ts';

let image: Buffer;
let root: string;
/** Offsets of all frames, and the end. */
let frames: number[];

beforeAll(async () => {
  const source = await sampleInstance({ entries: 5000, maxPayloadBytes: 60 });
  image = await imageOf(source);
  root = (await verifyImage(piecesOf(image))).digest.root;
  frames = [];
  for (let at = preambleBytes; at < image.length;) {
    frames.push(at);
    at += frameHeaderBytes + image.readUInt32BE(at + 20);
  }
  frames.push(image.length);
});

/** Refused, with a place, or read as the same state [I16]. */
async function requireHarmless(bytes: Buffer, what: string): Promise<'refused' | 'same'> {
  try {
    const { digest } = await verifyImage(piecesOf(bytes));
    if (digest.root !== root) throw new Error('it was read as another state');
    return 'same';
  } catch (error) {
    const known = hasCode(error, 'image.corrupt') || hasCode(error, 'image.unsupported-version');
    if (!known) throw new Error(`${what}: ${String(error)}`, { cause: error });
    return 'refused';
  }
}

/** Which of the alterations are not refused. */
async function accepted(alterations: Iterable<readonly [what: string, bytes: Buffer]>) {
  const found: string[] = [];
  for (const [what, bytes] of alterations) {
    if ((await requireHarmless(bytes, what)) !== 'refused') found.push(what);
  }
  return found;
}

function flip(offset: number, mask: number): Buffer {
  const bytes = Buffer.from(image);
  bytes.writeUInt8(bytes.readUInt8(offset) ^ mask, offset);
  return bytes;
}

function* lazily<Item>(
  items: readonly Item[],
  alter: (item: Item) => readonly [string, Buffer],
): Generator<readonly [string, Buffer]> {
  for (const item of items) yield alter(item);
}

function* rearranged(): Generator<readonly [string, Buffer]> {
  for (let i = 0; i + 1 < frames.length; i += 1) {
    const [start = 0, end = 0, after = end] = frames.slice(i, i + 3);
    const before = image.subarray(0, start);
    const frame = image.subarray(start, end);
    const next = image.subarray(end, after);
    const rest = image.subarray(after);
    yield [`frame ${i} doubled`, Buffer.concat([before, frame, frame, next, rest])];
    yield [`frame ${i} left out`, Buffer.concat([before, next, rest])];
    if (next.length === 0) continue;
    yield [`frame ${i} exchanged`, Buffer.concat([before, next, frame, rest])];
  }
}

describe('an altered image is refused [IMG-5] [I16]', () => {
  test('when a byte of the preamble, of any frame header or next to any boundary is flipped', async () => {
    const places = Array.from({ length: preambleBytes }, (_, i) => i);
    for (const frame of frames.slice(0, -1)) {
      for (let i = -4; i < frameHeaderBytes + 4; i += 1) places.push(frame + i);
    }
    const inside = places.filter((at) => at < image.length);
    expect(
      await accepted(lazily(inside, (at) => [`bit flipped at ${at}`, flip(at, 1 << (at % 8))])),
    ).toEqual([]);
  });

  test('when it is cut at any boundary, or one byte beside it', async () => {
    const ends = [0, ...frames].flatMap((frame) => [frame - 1, frame, frame + 1]);
    const inside = ends.filter((end) => end >= 0 && end < image.length);
    const cuts = lazily(inside, (end) => [`cut at ${end}`, image.subarray(0, end)]);
    expect(await accepted(cuts)).toEqual([]);
  });

  test('when a frame is doubled, left out, or exchanged with the next', async () => {
    expect(await accepted(rearranged())).toEqual([]);
  });

  test('when bytes follow its end, even a second whole image; or when it is none at all', async () => {
    const others: [string, Buffer][] = [
      ['a zero byte appended', Buffer.concat([image, Buffer.alloc(1)])],
      ['a second image appended', Buffer.concat([image, image])],
      ['empty', Buffer.alloc(0)],
      ['zeros', Buffer.alloc(10_000)],
    ];
    expect(await accepted(others)).toEqual([]);
  });

  test('or decodes to the same state, whatever is done at random offsets', async () => {
    const seed = Number(process.env['QUORUMSHIFT_SEED'] ?? Date.now() % 1_000_000);
    const random = seededRandom(seed);
    let refused = 0;
    for (let i = 0; i < 300; i += 1) {
      const what = `seed ${seed}, step ${i}`;
      const at = random.below(image.length);
      const length = 1 + random.below(200);
      const change = random.below(4);
      let altered: Buffer;
      if (change === 0) {
        altered = flip(at, 1 + random.below(255));
      } else if (change === 1) {
        altered = image.subarray(0, at);
      } else if (change === 2) {
        const twice = [image.subarray(0, at + length), image.subarray(at)];
        altered = Buffer.concat(twice);
      } else {
        const without = [image.subarray(0, at), image.subarray(at + length)];
        altered = Buffer.concat(without);
      }
      if ((await requireHarmless(altered, what)) === 'refused') refused += 1;
    }
    expect(refused, `seed ${seed}`).toBeGreaterThan(250);
  });

  test('and the refusal names the byte', async () => {
    const frame = frames[3] ?? 0;
    await expect(verifyImage(piecesOf(flip(frame + frameHeaderBytes, 1)))).rejects.toMatchObject({
      code: 'image.corrupt',
      details: { offset: String(frame + frameHeaderBytes) },
    });
  });
});

describe('an image forged with right checksums is refused [IMG-5]', () => {
  interface Forgery {
    readonly forge: () => Buffer;
    readonly reason: string;
  }
  /** The image with the frame at `at` (negative: from the end) changed. */
  const changed = (at: number, change: Partial<TestFrame>, keepsIntegrity = false): Buffer => {
    const parts = framesOf(image);
    const i = at < 0 ? parts.length + at : at;
    const found = parts[i];
    if (found !== undefined) parts[i] = { ...found, ...change };
    return imageOfFrames(image, parts, { keepsIntegrity });
  };
  const storedWith = (at: number, change: (stored: Buffer) => void): Buffer => {
    const stored = Buffer.from(framesOf(image).at(at)?.stored ?? []);
    change(stored);
    return stored;
  };
  const forgeries: Readonly<Record<string, Forgery>> = {
    'a frame under the number of another': {
      forge: () => changed(3, { sequence: 4n }),
      reason: 'frame 4 is where frame 3 is due',
    },
    'content that the integrity hash does not cover': {
      forge: () =>
        changed(2, { stored: storedWith(2, (bytes) => bytes.writeUInt8(0x41, 20)) }, true),
      reason: 'the hash of what comes before its end is wrong',
    },
    'another digest in its end': {
      forge: () => changed(-1, { stored: storedWith(-1, (bytes) => bytes.writeUInt8(0, 40)) }),
      reason: 'its counts or digests are not those of what it holds',
    },
    'another vote than its digest covers': {
      forge: () => changed(2, { stored: storedWith(2, (bytes) => bytes.writeUInt8(0x41, 20)) }),
      reason: 'its counts or digests are not those of what it holds',
    },
    'a chunk that claims a gigabyte when decompressed': {
      forge: () => changed(3, { stored: storedWith(3, (bytes) => bytes.writeUInt32LE(2 ** 30)) }),
      reason: 'it states 1073741824 bytes where',
    },
    'a compressed chunk that is no smaller': {
      forge: () => changed(3, { contentBytes: framesOf(image)[3]?.stored.length ?? 0 }),
      reason: 'a compressed frame is no smaller than its content',
    },
    'a chunk of two gigabytes': {
      forge: () => changed(3, { contentBytes: 2 ** 31 }),
      reason: 'a frame is larger than the format allows',
    },
    'a reserved byte in an entry': {
      forge: () =>
        changed(
          3,
          rawChunk(3, (content) => content.writeUInt8(1, 9)),
        ),
      reason: 'reserved bytes are set',
    },
    'an entry of another index': {
      forge: () =>
        changed(
          3,
          rawChunk(3, (content) => content.writeBigInt64BE(2n, 16)),
        ),
      reason: 'its index is not 1',
    },
  };

  /** A LOG frame's content changed and stored as it is. */
  function rawChunk(at: number, change: (content: Buffer) => void): Partial<TestFrame> {
    const frame = framesOf(image)[at];
    if (frame === undefined) return {};
    const content = unpack(frame.stored, frame.contentBytes);
    change(content);
    return { flags: 0, stored: content };
  }

  test.each(Object.entries(forgeries))('%s', async (_, { forge, reason }) => {
    await expect(verifyImage(piecesOf(forge()))).rejects.toMatchObject({
      code: 'image.corrupt',
      details: { reason: expect.stringContaining(reason) },
    });
  });
});

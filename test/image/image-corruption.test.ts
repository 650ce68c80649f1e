import { beforeAll, describe, expect, test } from 'vitest';

import { hasCode } from '../../core/errors.ts';
import { frameHeaderBytes, preambleBytes } from '../../storage/image/image-format.ts';
import { verifyImage } from '../../storage/image/transfer-image.ts';
import { seededRandom } from '../../storage/testing/seeded-random.ts';
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
    expect(digest.root, what).toBe(root);
    return 'same';
  } catch (error) {
    const known = hasCode(error, 'image.corrupt') || hasCode(error, 'image.unsupported-version');
    if (!known) throw new Error(`${what}: ${String(error)}`, { cause: error });
    return 'refused';
  }
}

async function requireRefused(bytes: Buffer, what: string): Promise<void> {
  expect(await requireHarmless(bytes, what), what).toBe('refused');
}

function flip(offset: number, mask: number): Buffer {
  const bytes = Buffer.from(image);
  bytes.writeUInt8(bytes.readUInt8(offset) ^ mask, offset);
  return bytes;
}

describe('an altered image is refused [IMG-5] [I16]', () => {
  test('when a byte of the preamble, of any frame header or next to any boundary is flipped', async () => {
    const places = Array.from({ length: preambleBytes }, (_, i) => i);
    for (const frame of frames.slice(0, -1)) {
      for (let i = -4; i < frameHeaderBytes + 4; i += 1) places.push(frame + i);
    }
    for (const place of places.filter((at) => at < image.length)) {
      await requireRefused(flip(place, 1 << (place % 8)), `bit flipped at ${place}`);
    }
  });

  test('when it is cut at any boundary, or one byte beside it', async () => {
    for (const frame of [0, ...frames.slice(0, -1)]) {
      for (const end of [frame - 1, frame, frame + 1]) {
        if (end >= 0) await requireRefused(image.subarray(0, end), `cut at ${end}`);
      }
    }
    await requireRefused(image.subarray(0, image.length - 1), 'last byte missing');
  });

  test('when a frame is doubled, left out, or exchanged with the next', async () => {
    for (let i = 0; i + 1 < frames.length; i += 1) {
      const [start = 0, end = 0, after = end] = frames.slice(i, i + 3);
      const [before, frame, next] = [
        image.subarray(0, start),
        image.subarray(start, end),
        image.subarray(end, after),
      ];
      const rest = image.subarray(after);
      await requireRefused(Buffer.concat([before, frame, frame, next, rest]), `frame ${i} doubled`);
      await requireRefused(Buffer.concat([before, next, rest]), `frame ${i} left out`);
      if (next.length === 0) continue;
      await requireRefused(Buffer.concat([before, next, frame, rest]), `frame ${i} exchanged`);
    }
  });

  test('when bytes follow its end, even a second whole image', async () => {
    await requireRefused(Buffer.concat([image, Buffer.alloc(1)]), 'a zero byte appended');
    await requireRefused(Buffer.concat([image, image]), 'a second image appended');
  });

  test('when it is empty, or is something else', async () => {
    await requireRefused(Buffer.alloc(0), 'empty');
    await requireRefused(Buffer.alloc(10_000), 'zeros');
  });

  test('or decodes to the same state, whatever is done at random offsets', async () => {
    const seed = Number(process.env['QUORUMSHIFT_SEED'] ?? Date.now() % 1_000_000);
    const random = seededRandom(seed);
    for (let i = 0; i < 300; i += 1) {
      const what = `seed ${seed}, step ${i}`;
      const at = random.below(image.length);
      const length = 1 + random.below(200);
      const change = random.below(4);
      if (change === 0) {
        await requireHarmless(flip(at, 1 + random.below(255)), what);
      } else if (change === 1) {
        await requireHarmless(image.subarray(0, at), what);
      } else if (change === 2) {
        const twice = [image.subarray(0, at + length), image.subarray(at)];
        await requireHarmless(Buffer.concat(twice), what);
      } else {
        const without = [image.subarray(0, at), image.subarray(at + length)];
        await requireHarmless(Buffer.concat(without), what);
      }
    }
  });

  test('and the refusal names the byte', async () => {
    const frame = frames[3] ?? 0;
    await expect(verifyImage(piecesOf(flip(frame + frameHeaderBytes, 1)))).rejects.toMatchObject({
      code: 'image.corrupt',
      details: { offset: String(frame + frameHeaderBytes) },
    });
  });
});

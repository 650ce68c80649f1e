/**
 * Content of a frame as LZ4 blocks: for each 128 KiB of content a u32 length and that many bytes,
 * which are a little-endian u32 of the content's size and an LZ4 block, or, with the top bit of the
 * length set, the content itself where compressing would gain little.
 */
import { compress, compressSync, uncompressSync } from 'lz4-napi';

import { buffersSpent } from '../spent-buffers.ts';
import { blockBytes, corrupt, rawBlockFlag } from './image-format.ts';
import type { Chunk } from './log-chunks.ts';

/**
 * Compressions of one frame that run together: lz4-napi uses libuv's threads, as file access does.
 */
const lanes = 2;

/**
 * A block is worth decompressing if it is smaller by a sixteenth: headers alone make incompressible
 * entries smaller by a hundredth.
 */
const worthwhile = 15 / 16;

/** Blocks tried before a chunk is stored as it is, in steps of a quarter of it. */
const probes = 4;

/** The stored bytes as parts: length words and block bytes. They depend on the content alone. */
export async function compressBlocks(chunk: Chunk): Promise<Uint8Array[]> {
  const blocks = cutBlocks(chunk);
  const step = Math.ceil(blocks.length / probes);
  const packed = new Map<Buffer, Buffer>();
  for (const block of blocks.filter((_, i) => i % step === 0)) {
    keepIfWorthwhile(packed, block, compressSync(block));
  }
  if (packed.size > 0) {
    await compressInto(
      packed,
      blocks.filter((_, i) => i % step !== 0),
    );
  }
  return blocks.flatMap((block) => storedBlock(block, packed.get(block)));
}

/** What was not worth compressing is left out of `packed`. */
function keepIfWorthwhile(packed: Map<Buffer, Buffer>, block: Buffer, bytes: Buffer): void {
  buffersSpent(bytes.length);
  if (bytes.length <= block.length * worthwhile) packed.set(block, bytes);
}

async function compressInto(packed: Map<Buffer, Buffer>, blocks: readonly Buffer[]): Promise<void> {
  const queue = blocks.values();
  const lane = async (): Promise<void> => {
    for (const block of queue) keepIfWorthwhile(packed, block, await compress(block));
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

function storedBlock(block: Buffer, packed: Buffer | undefined): [Buffer, Buffer] {
  const word = Buffer.alloc(4);
  word.writeUInt32BE(packed?.length ?? (block.length | rawBlockFlag) >>> 0);
  return [word, packed ?? block];
}

/** Blocks of exactly {@link blockBytes}, the last one aside; copies only where one spans pieces. */
function cutBlocks(chunk: Chunk): Buffer[] {
  const blocks: Buffer[] = [];
  let parts: Buffer[] = [];
  let missing = blockBytes;
  for (const piece of chunk) {
    for (let at = 0; at < piece.length;) {
      const part = piece.subarray(at, at + missing);
      parts.push(part);
      at += part.length;
      missing -= part.length;
      if (missing > 0) continue;
      blocks.push(joined(parts));
      parts = [];
      missing = blockBytes;
    }
  }
  if (parts.length > 0) blocks.push(joined(parts));
  return blocks;
}

function joined(parts: readonly Buffer[]): Buffer {
  const [only] = parts;
  return only !== undefined && parts.length === 1 ? only : Buffer.concat(parts);
}

/**
 * The content of a frame, in the first bytes of `target` or in memory of its own. Sizes are checked
 * before a block is decompressed: lz4-napi trusts its size prefix.
 * @throws `image.corrupt` at `offset`
 */
export function decompressBlocks(
  stored: Buffer,
  frame: { readonly contentBytes: number; readonly offset: number },
  target?: Buffer,
): Buffer {
  const { contentBytes } = frame;
  const content = target?.subarray(0, contentBytes) ?? Buffer.allocUnsafeSlow(contentBytes);
  let at = 0;
  for (let filled = 0; filled < content.length;) {
    const expected = Math.min(blockBytes, content.length - filled);
    if (stored.length - at < 4) throw corrupt(frame.offset, 'a block is cut short');
    const word = stored.readUInt32BE(at);
    const length = (word & ~rawBlockFlag) >>> 0;
    at += 4;
    if (stored.length - at < length) throw corrupt(frame.offset, 'a block is cut short');
    const block = stored.subarray(at, at + length);
    at += length;
    const raw = word >= rawBlockFlag;
    const bytes = raw ? block : decompressBlock(block, { expected, offset: frame.offset });
    if (bytes.length !== expected) throw corrupt(frame.offset, 'a block has another size than due');
    content.set(bytes, filled);
    filled += expected;
  }
  if (at !== stored.length) throw corrupt(frame.offset, 'bytes follow the last block of a frame');
  return content;
}

function decompressBlock(block: Buffer, due: { expected: number; offset: number }): Buffer {
  if (block.length < 4 || block.readUInt32LE() !== due.expected) {
    throw corrupt(due.offset, 'a block has another size than due');
  }
  try {
    buffersSpent(due.expected);
    return uncompressSync(block);
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw corrupt(due.offset, `a block cannot be decompressed: ${text}`);
  }
}

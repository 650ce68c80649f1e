/**
 * Content of a frame as LZ4: a little-endian u32 of its size and one LZ4 block, as lz4-napi makes
 * it.
 */
import { compress, compressSync, uncompressSync } from 'lz4-napi';

import { buffersSpent } from '../spent-buffers.ts';
import { corrupt } from './image-format.ts';

/**
 * A chunk is worth decompressing if it is smaller by a sixteenth: headers alone make incompressible
 * entries smaller by a hundredth.
 */
const worthwhile = 15 / 16;

/** What is tried of a chunk before all of it is compressed. */
const probeBytes = 16 * 1024;

/** Null where compressing would gain little. It depends on the content alone. */
export async function compressChunk(content: Buffer): Promise<Buffer | null> {
  const middle = Math.max(0, (content.length - probeBytes) >>> 1);
  const probe = content.subarray(middle, middle + probeBytes);
  if (!gains(compressSync(probe), probe)) return null;
  const packed = await compress(content);
  buffersSpent(packed.length);
  return gains(packed, content) ? packed : null;
}

function gains(packed: Buffer, content: Buffer): boolean {
  return packed.length <= content.length * worthwhile;
}

/**
 * The content, in memory of its own. Its size is checked before: lz4-napi trusts its size prefix.
 * @throws `image.corrupt` at `offset`
 */
export function decompressChunk(
  stored: Buffer,
  frame: { readonly contentBytes: number; readonly offset: number },
): Buffer {
  if (stored.length < 4 || stored.readUInt32LE() !== frame.contentBytes) {
    throw corrupt(frame.offset, 'its compressed content states another size');
  }
  let content: Buffer;
  try {
    content = uncompressSync(stored);
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw corrupt(frame.offset, `it cannot be decompressed: ${text}`);
  }
  buffersSpent(content.length);
  if (content.length === frame.contentBytes) return content;
  throw corrupt(frame.offset, 'its compressed content has another size');
}

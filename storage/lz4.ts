/**
 * Pieces of bulk in LZ4: a little-endian u32 of the content's size and one LZ4 block, as lz4-napi
 * makes it.
 */
import { compress, compressSync, uncompressSync } from 'lz4-napi';

import { buffersSpent } from './spent-buffers.ts';

/**
 * Content is worth decompressing if it is smaller by a sixteenth: headers alone make incompressible
 * entries smaller by a hundredth.
 */
const worthwhile = 15 / 16;

/** What is tried of the content before all of it is compressed. */
const probeBytes = 16 * 1024;

/** Whether a part of the content says that compressing gains. */
export function isCompressible(content: Buffer): boolean {
  const middle = Math.max(0, (content.length - probeBytes) >>> 1);
  const probe = content.subarray(middle, middle + probeBytes);
  return gains(compressSync(probe), probe);
}

/** By libuv's threads; null where it would gain little. It depends on the content alone. */
export async function pack(content: Buffer): Promise<Buffer | null> {
  if (!isCompressible(content)) return null;
  const packed = await compress(content);
  buffersSpent(packed.length);
  return gains(packed, content) ? packed : null;
}

function gains(packed: Buffer, content: Buffer): boolean {
  return packed.length <= content.length * worthwhile;
}

/**
 * The content, in memory of its own. Its size is checked before: lz4-napi trusts its size prefix.
 * @throws Error saying what is wrong
 */
export function unpack(packed: Buffer, maxBytes: number): Buffer {
  if (packed.length < 4) throw new Error('it is cut short');
  const bytes = packed.readUInt32LE();
  if (bytes > maxBytes) throw new Error(`it states ${bytes} bytes where ${maxBytes} are the most`);
  const content = uncompressSync(packed);
  buffersSpent(content.length);
  return content;
}

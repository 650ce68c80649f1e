/** Cutting batches into chunks for the database, and making batches of what is read from it. */
import { hasCode } from '../../core/errors.ts';
import { offsetAt, parseCanonicalRun, sliceBatch, type EntryBatch } from '../entry-batch.ts';
import type { StoredChunk } from './chunk-store.ts';

/**
 * Bytes of a chunk. Larger ones gain little in bulk work; cutting a suffix rewrites at most one.
 * What comes packed from an image keeps that one's size, 512 KiB.
 */
export const chunkBytes = 128 * 1024;

/** Leaves of the state digest: a chunk that ends where a leaf ends is digested without a copy. */
const alignment = 64n;

/**
 * The batch in chunks: at most {@link chunkBytes} each, one larger entry aside, ending at a
 * multiple of 64 where one lies inside.
 */
export function cutChunks(batch: EntryBatch): EntryBatch[] {
  const chunks: EntryBatch[] = [];
  for (let start = 0; start < batch.count;) {
    const end = chunkEnd(batch, start);
    chunks.push(sliceBatch(batch, start, end));
    start = end;
  }
  return chunks;
}

function chunkEnd(batch: EntryBatch, start: number): number {
  const limit = offsetAt(batch, start) + chunkBytes;
  let end = start + 1;
  while (end < batch.count && offsetAt(batch, end + 1) <= limit) end += 1;
  if (end === batch.count) return end;
  const beyond = Number((batch.firstIndex + BigInt(end)) % alignment);
  return end - beyond > start ? end - beyond : end;
}

/**
 * The entries of a stored chunk; the batch shares its bytes. Null when its bytes are no run of
 * canonical entries that begins at its key.
 */
export function parseChunk({ bytes, firstIndex }: StoredChunk): EntryBatch | null {
  if (bytes.length === 0) return null;
  try {
    return parseCanonicalRun(bytes, firstIndex);
  } catch (error) {
    if (hasCode(error, 'log.invalid-batch')) return null;
    throw error;
  }
}

/** One batch of several that follow each other; the bytes are copied. */
export function joinBatches(batches: readonly EntryBatch[]): EntryBatch {
  const [first] = batches;
  if (first !== undefined && batches.length === 1) return first;
  const bytes = Buffer.concat(
    batches.map((b) => b.bytes.subarray(offsetAt(b, 0), offsetAt(b, b.count))),
  );
  const count = batches.reduce((sum, batch) => sum + batch.count, 0);
  const offsets = new Uint32Array(count + 1);
  let entry = 0;
  let base = 0;
  for (const batch of batches) {
    const start = offsetAt(batch, 0);
    for (let i = 0; i < batch.count; i += 1) offsets[entry++] = base + offsetAt(batch, i) - start;
    base += offsetAt(batch, batch.count) - start;
  }
  offsets[count] = base;
  return { firstIndex: first?.firstIndex ?? 0n, count, bytes, offsets };
}

/** Parts of batches: by index, and by size. Bytes are shared, never copied. */
import { batchBytes, lastIndexOf, offsetAt, sliceBatch, type EntryBatch } from './entry-batch.ts';

/** The entries of `batch` within `from..to`; null when there is none. */
export function clipBatch(
  batch: EntryBatch,
  { from, to }: { from: bigint; to: bigint },
): EntryBatch | null {
  const start = from > batch.firstIndex ? from - batch.firstIndex : 0n;
  const last = to < lastIndexOf(batch) ? to : lastIndexOf(batch);
  const end = last - batch.firstIndex + 1n;
  return end > start ? sliceBatch(batch, Number(start), Number(end)) : null;
}

/** The batch in pieces of at most `maxBytes`, one larger entry aside. */
export function* splitBatch(batch: EntryBatch, maxBytes: number): Generator<EntryBatch> {
  if (batchBytes(batch) <= maxBytes) {
    yield batch;
    return;
  }
  let start = 0;
  for (let end = 1; end <= batch.count; end += 1) {
    const full =
      end === batch.count || offsetAt(batch, end + 1) - offsetAt(batch, start) > maxBytes;
    if (!full) continue;
    yield sliceBatch(batch, start, end);
    start = end;
  }
}

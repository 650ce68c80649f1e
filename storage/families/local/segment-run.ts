/** Entries on their way to one segment, as records: the giver may use its buffer again. */
import { offsetAt, type EntryBatch } from '../../entry-batch.ts';
import { writeRecordHeader } from './record.ts';

/** braft's `raft_max_segment_size`: a segment above it is closed before the next record. */
export const defaultMaxSegmentBytes = 8 * 1024 * 1024;

/** Writes entries `[start, end)` of the batch, by position, to the beginning of `target`. */
export function copyRecords(
  batch: EntryBatch,
  { start, end }: { start: number; end: number },
  target: Uint8Array,
): void {
  const first = offsetAt(batch, start);
  batch.bytes.copy(target, 0, first, offsetAt(batch, end));
  for (let i = start; i < end; i += 1) {
    writeRecordHeader(target, (batch.offsets[i] as number) - first, batch.payloadCrc32c?.[i]);
  }
}

export interface TakeLimits {
  /**
   * Bytes that the segment may still get before it is closed: an entry is taken while those
   * before it have at most so many (braft's rule), so at least one.
   */
  readonly room: number;
}

export class SegmentRun {
  /** No Buffer: views of payloads, which cost one and a half times as much, are taken of it. */
  #buffer = new Uint8Array();
  #sizes: number[] = [];
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#sizes.length;
  }

  /** Takes entries from position `i` on, at least one; returns the position of the next. */
  take(batch: EntryBatch, i: number, limits: TakeLimits): number {
    const start = offsetAt(batch, i);
    let end = i;
    let taken = 0;
    do {
      end += 1;
      const next = offsetAt(batch, end) - start;
      this.#sizes.push(next - taken);
      taken = next;
    } while (end < batch.count && taken <= limits.room);
    this.#append(batch, { i, end, bytes: taken });
    return end;
  }

  #append(batch: EntryBatch, part: { i: number; end: number; bytes: number }): void {
    this.#reserve(part.bytes);
    copyRecords(batch, { start: part.i, end: part.end }, this.#buffer.subarray(this.#bytes));
    this.#bytes += part.bytes;
  }

  #reserve(bytes: number): void {
    const needed = this.#bytes + bytes;
    if (needed <= this.#buffer.length) return;
    const larger = new Uint8Array(Math.max(needed, this.#buffer.length * 2));
    larger.set(this.#buffer.subarray(0, this.#bytes));
    this.#buffer = larger;
  }

  /**
   * The records' bytes, and the size of each; the run is empty then. The bytes stay as they are
   * until the next {@link take}.
   */
  drain(): { readonly bytes: Uint8Array; readonly sizes: readonly number[] } {
    const drained = { bytes: this.#buffer.subarray(0, this.#bytes), sizes: this.#sizes };
    this.#sizes = [];
    this.#bytes = 0;
    return drained;
  }
}

/**
 * Entries on their way to one segment, already as records, so that the giver may use its buffer
 * again.
 */
import { offsetAt, sliceBatch, type EntryBatch } from '../../entry-batch.ts';
import { toRecords } from './record-batch.ts';

/** braft's `raft_max_segment_size`: a segment above it is closed before the next record. */
export const defaultMaxSegmentBytes = 8 * 1024 * 1024;

export class SegmentRun {
  #records: Buffer[] = [];
  #sizes: number[] = [];
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#sizes.length;
  }

  /**
   * Takes entries from position `i` on, while those before each have at most `room` bytes (braft's
   * rule of rolling): at least one. Returns the position of the next.
   */
  take(batch: EntryBatch, i: number, room: number): number {
    const start = offsetAt(batch, i);
    let end = i;
    while (end < batch.count && offsetAt(batch, end) - start <= room) {
      this.#sizes.push(offsetAt(batch, end + 1) - offsetAt(batch, end));
      end += 1;
    }
    this.#records.push(toRecords(sliceBatch(batch, i, end)));
    this.#bytes += offsetAt(batch, end) - start;
    return end;
  }

  /** The records' bytes, and the size of each; the run is empty then. */
  drain(): { readonly bytes: Buffer; readonly sizes: readonly number[] } {
    const [first, ...others] = this.#records;
    const single = first !== undefined && others.length === 0;
    const drained = { bytes: single ? first : Buffer.concat(this.#records), sizes: this.#sizes };
    this.#records = [];
    this.#sizes = [];
    this.#bytes = 0;
    return drained;
  }
}

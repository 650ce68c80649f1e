/**
 * One segment in memory: where it lies, and where its records are. Of the records' offsets only
 * every 64th is kept, so that a log of 80 million tiny entries needs 10 MB.
 */
import { join } from 'node:path';

import { closedSegmentName, openSegmentName } from './segment-name.ts';

/** Records from one kept offset to the next; a search walks at most so many headers. */
const stride = 64;

/** Byte offsets of records in a file, by position (0 is the segment's first record). */
export class RecordOffsets {
  #kept = new Float64Array(8);
  #count = 0;
  #end = 0;

  /** Records. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of all records: where the next one goes. */
  get end(): number {
    return this.#end;
  }

  /** Adds the next record of `bytes` bytes, header included. */
  push(bytes: number): void {
    if (this.#count % stride === 0) this.#keep(this.#count / stride, this.#end);
    this.#count += 1;
    this.#end += bytes;
  }

  #keep(slot: number, offset: number): void {
    if (slot === this.#kept.length) {
      const grown = new Float64Array(slot * 2);
      grown.set(this.#kept);
      this.#kept = grown;
    }
    this.#kept[slot] = offset;
  }

  /** The last known record at or before `position`. */
  floor(position: number): { readonly position: number; readonly offset: number } {
    const slot = Math.floor(position / stride);
    return { position: slot * stride, offset: this.#kept[slot] ?? this.#end };
  }

  /** An offset at or after the end of record `position`. */
  ceiling(position: number): number {
    const slot = Math.floor(position / stride) + 1;
    return slot * stride < this.#count ? (this.#kept[slot] ?? this.#end) : this.#end;
  }

  /** Forgets the records from `count` on; they began at byte `end`. */
  cut(count: number, end: number): void {
    this.#count = count;
    this.#end = end;
  }
}

export class Segment {
  readonly directory: string;
  readonly first: bigint;
  offsets = new RecordOffsets();
  /**
   * Not walked when the log was opened: until it is, its name says what it holds, and whoever
   * reads it checks that.
   */
  deferred = false;
  /** An open one may grow; braft calls its file `log_inprogress_…`. */
  open: boolean;
  /**
   * Last index that a closed segment's name stated when it was found; null for one that was open.
   */
  readonly namedLast: bigint | null;

  constructor(options: { directory: string; first: bigint; namedLast: bigint | null }) {
    this.directory = options.directory;
    this.first = options.first;
    this.open = options.namedLast === null;
    this.namedLast = options.namedLast;
  }

  /** `first - 1n` when it holds no record. */
  get last(): bigint {
    if (this.deferred && this.namedLast !== null) return this.namedLast;
    return this.first + BigInt(this.offsets.count) - 1n;
  }

  /** The name that its file has now, by what it holds; before a scan, by what the name stated. */
  get path(): string {
    return this.#pathAs(this.open);
  }

  /** Its name before it was closed or opened again, or after the next time. */
  get otherPath(): string {
    return this.#pathAs(!this.open);
  }

  #pathAs(open: boolean): string {
    const last = this.offsets.count === 0 ? (this.namedLast ?? this.last) : this.last;
    const name = open ? openSegmentName(this.first) : closedSegmentName(this.first, last);
    return join(this.directory, name);
  }

  /** Takes what a walk of its file found. */
  walked(offsets: RecordOffsets): void {
    this.offsets = offsets;
    this.deferred = false;
  }

  position(index: bigint): number {
    return Number(index - this.first);
  }
}

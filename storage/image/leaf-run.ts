/** Hashes of whole leaves of a log's digest, of contiguous places: 32 bytes for 64 entries. */
import { assert } from '../../core/errors.ts';

/** Indexes of a leaf: 64 KiB of 1 KiB entries, one hash call. */
export const leafIndexes = 64n;
export const hashBytes = 32;

/** How many hashes there is room for at first; doubled when they are more. */
const firstRoom = 64;

/** The first index at or above `index` at which a leaf begins. */
function leafAt(index: bigint): bigint {
  return ((index + leafIndexes - 1n) / leafIndexes) * leafIndexes;
}

export class LeafRun {
  #hashes: Buffer;
  #bytes: number;
  #firstIndex: bigint;

  /** @param hashes back to back, of the leaves from `firstIndex` on; they are not changed */
  constructor(firstIndex = 0n, hashes: Buffer = Buffer.alloc(0)) {
    this.#firstIndex = firstIndex;
    this.#hashes = hashes;
    this.#bytes = hashes.length;
  }

  /** Where the first leaf begins. */
  get firstIndex(): bigint {
    return this.#firstIndex;
  }

  /** The index after the last leaf; `firstIndex` when there is none. */
  get nextIndex(): bigint {
    return this.#firstIndex + BigInt(this.#bytes / hashBytes) * leafIndexes;
  }

  /** Adds the leaf that begins at `index`: the next one, or the first. */
  add(index: bigint, hash: Buffer): void {
    if (this.#bytes === 0) this.#firstIndex = index;
    assert(index === this.nextIndex && index % leafIndexes === 0n, 'leaves follow each other');
    if (this.#bytes === this.#hashes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(firstRoom * hashBytes, this.#bytes * 2));
      this.#hashes.copy(larger);
      this.#hashes = larger;
    }
    hash.copy(this.#hashes, this.#bytes);
    this.#bytes += hashBytes;
  }

  /** Hashes of the leaves in `[from, to)`, back to back; both are where a leaf begins, or ends. */
  hashes(from: bigint, to: bigint): Buffer {
    const at = (index: bigint) => Number((index - this.#firstIndex) / leafIndexes) * hashBytes;
    return this.#hashes.subarray(at(from), at(to));
  }

  /** The same leaves; what is added to this run later is not among them. */
  asNow(): LeafRun {
    return this.within(this.#firstIndex, this.nextIndex);
  }

  /** The leaves that lie whole in `[from, to)`; they are added to on their own. */
  within(from: bigint, to: bigint): LeafRun {
    const first = from <= this.#firstIndex ? this.#firstIndex : leafAt(from);
    const end = to >= this.nextIndex ? this.nextIndex : (to / leafIndexes) * leafIndexes;
    return first < end ? new LeafRun(first, this.hashes(first, end)) : new LeafRun();
  }
}

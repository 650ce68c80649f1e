/** Cuts a log into the content of LOG frames, at places that depend on the log alone (IMG-7). */
import { canonicalBytes, offsetAt, sliceBatch, type EntryBatch } from '../entry-batch.ts';
import { chunkIndexes, maxChunkBytes } from './image-format.ts';

/** Pieces that lie back to back in a chunk. */
export type Chunk = readonly Buffer[];

export class LogChunker {
  /** Chunks are gathered in the same memory in turn: fresh buffers would cost page faults. */
  readonly #slots: Buffer[];
  #slot = 0;
  #bytes = 0;

  /** @param chunksInUse how many chunks the taker may still need while the next is gathered */
  constructor(chunksInUse: number) {
    this.#slots = Array.from({ length: chunksInUse + 1 }, () => Buffer.alloc(0));
  }

  /** Takes the next entries, copying them; yields each chunk that they complete. */
  *add(batch: EntryBatch): Generator<Chunk> {
    for (let i = 0; i < batch.count;) {
      const taken = this.#fitting(batch, i);
      if (taken === 0 && this.#bytes > 0) {
        yield this.#take();
      } else if (taken === 0) {
        yield* largeEntry(canonicalBytes(sliceBatch(batch, i, i + 1)));
        i += 1;
      } else {
        this.#push(sliceBatch(batch, i, i + taken));
        i += taken;
        if ((batch.firstIndex + BigInt(i)) % chunkIndexes === 0n) yield this.#take();
      }
    }
  }

  *finish(): Generator<Chunk> {
    if (this.#bytes > 0) yield this.#take();
  }

  /** How many entries from position `i` on go into the present chunk. */
  #fitting(batch: EntryBatch, i: number): number {
    const index = batch.firstIndex + BigInt(i);
    const toBoundary = Number(chunkIndexes - (index % chunkIndexes));
    const limit = offsetAt(batch, i) + maxChunkBytes - this.#bytes;
    const end = Math.min(batch.count, i + toBoundary);
    let next = i;
    while (next < end && offsetAt(batch, next + 1) <= limit) next += 1;
    return next - i;
  }

  #push(run: EntryBatch): void {
    this.#bytes += canonicalBytes(run).copy(this.#target(), this.#bytes);
  }

  #target(): Buffer {
    const slot = this.#slots[this.#slot];
    if (slot !== undefined && slot.length > 0) return slot;
    return (this.#slots[this.#slot] = Buffer.allocUnsafeSlow(maxChunkBytes));
  }

  #take(): Chunk {
    const chunk = this.#target().subarray(0, this.#bytes);
    this.#slot = (this.#slot + 1) % this.#slots.length;
    this.#bytes = 0;
    return [chunk];
  }
}

/** An entry that no chunk holds has chunks of its own, views of its batch. */
function* largeEntry(bytes: Buffer): Generator<Chunk> {
  for (let at = 0; at < bytes.length; at += maxChunkBytes) {
    yield [bytes.subarray(at, at + maxChunkBytes)];
  }
}

/** Cuts the bytes of one file into the content of FILE_BYTES frames. */
export class FileChunker {
  #pieces: Buffer[] = [];
  #bytes = 0;

  *add(bytes: Buffer): Generator<Chunk> {
    for (let at = 0; at < bytes.length;) {
      const taken = Math.min(bytes.length - at, maxChunkBytes - this.#bytes);
      this.#pieces.push(bytes.subarray(at, at + taken));
      this.#bytes += taken;
      at += taken;
      if (this.#bytes === maxChunkBytes) yield* this.finish();
    }
  }

  *finish(): Generator<Chunk> {
    if (this.#bytes === 0) return;
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#bytes = 0;
    yield pieces;
  }
}

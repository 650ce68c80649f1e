/** Cuts logs and files into the content of frames, at places that depend on them alone (IMG-7). */
import { canonicalBytes, offsetAt, sliceBatch, type EntryBatch } from '../entry-batch.ts';
import { maxChunkBytes } from './image-format.ts';

/** Chunks are gathered in the same memory in turn: fresh buffers would cost page faults. */
export class ChunkMemory {
  readonly #slots: Buffer[];
  #slot = 0;
  #bytes = 0;

  /** @param chunksInUse how many chunks the taker may still need while the next is gathered */
  constructor(chunksInUse: number) {
    this.#slots = Array.from({ length: chunksInUse + 1 }, () => Buffer.alloc(0));
  }

  /** Bytes gathered. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Copies what fits into the present chunk; returns how many bytes that is. */
  fill(bytes: Buffer): number {
    const copied = bytes.copy(this.#target(), this.#bytes);
    this.#bytes += copied;
    return copied;
  }

  /** Ends the present chunk. */
  take(): Buffer {
    const chunk = this.#target().subarray(0, this.#bytes);
    this.#slot = (this.#slot + 1) % this.#slots.length;
    this.#bytes = 0;
    return chunk;
  }

  #target(): Buffer {
    const slot = this.#slots[this.#slot];
    if (slot !== undefined && slot.length > 0) return slot;
    return (this.#slots[this.#slot] = Buffer.allocUnsafeSlow(maxChunkBytes));
  }
}

/** Takes the next entries of a log, copying them; yields each chunk that they complete. */
export function* addEntries(memory: ChunkMemory, batch: EntryBatch): Generator<Buffer> {
  for (let i = 0; i < batch.count;) {
    const taken = fitting(memory, batch, i);
    if (taken > 0) {
      memory.fill(canonicalBytes(sliceBatch(batch, i, i + taken)));
      i += taken;
    } else if (memory.bytes > 0) {
      yield memory.take();
    } else {
      // Larger than a chunk: it has chunks of its own.
      yield* addBytes(memory, canonicalBytes(sliceBatch(batch, i, i + 1)));
      yield* finishChunk(memory);
      i += 1;
    }
  }
}

/** How many entries from position `i` on go into the present chunk. */
function fitting(memory: ChunkMemory, batch: EntryBatch, i: number): number {
  const limit = offsetAt(batch, i) + maxChunkBytes - memory.bytes;
  let next = i;
  while (next < batch.count && offsetAt(batch, next + 1) <= limit) next += 1;
  return next - i;
}

/** Takes the next bytes of a file, copying them; yields each chunk that they complete. */
export function* addBytes(memory: ChunkMemory, bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length;) {
    at += memory.fill(bytes.subarray(at));
    if (memory.bytes === maxChunkBytes) yield memory.take();
  }
}

/** Ends a log or a file. */
export function* finishChunk(memory: ChunkMemory): Generator<Buffer> {
  if (memory.bytes > 0) yield memory.take();
}

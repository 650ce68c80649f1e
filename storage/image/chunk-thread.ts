/**
 * A thread beside the one that imports, for the work on an image's chunks that needs nothing but
 * their bytes: their checksum, decompression, and the checksum of each payload. Both threads see
 * the chunks in shared memory; messages carry numbers only.
 */
import { Worker } from 'node:worker_threads';

import { assert } from '../../core/errors.ts';
import { entryHeaderBytes } from '../entry-batch.ts';
import { frameHeaderBytes, maxChunkBytes } from './image-format.ts';

/** What is asked of one chunk, by the turn of its memory. */
export interface ChunkRequest {
  readonly turn: number;
  readonly storedBytes: number;
  /** As the frame states it: nothing is decompressed of what does not have it. */
  readonly storedCrc: number;
  /** Bytes once decompressed, as the frame states them; null: stored without compression. */
  readonly contentBytes: number | null;
}

export interface ChunkReply {
  /** Of the stored bytes. */
  readonly crc: number;
  /** The content, decompressed, is in its turn's memory, of the size that was stated. */
  readonly unpacked: boolean;
  /** Checksums of so many payloads are in the turn's memory; null: it is no run of entries. */
  readonly payloads: number | null;
}

/** One chunk is with the consumer, one is being checked while the next is being read. */
export const chunkTurns = 3;

const storedBytes = maxChunkBytes + frameHeaderBytes;
const checksumBytes = Math.ceil(maxChunkBytes / entryHeaderBytes) * Uint32Array.BYTES_PER_ELEMENT;

/** Memory for {@link chunkTurns} chunks, taken in turn. Of what is not used nothing is resident. */
export class ChunkMemory {
  readonly shared: SharedArrayBuffer;

  constructor(shared?: SharedArrayBuffer) {
    const bytes = (storedBytes + maxChunkBytes + checksumBytes) * chunkTurns;
    this.shared = shared ?? new SharedArrayBuffer(bytes);
  }

  stored(turn: number, bytes: number): Buffer {
    return Buffer.from(this.shared, turn * storedBytes, bytes);
  }

  content(turn: number, bytes: number): Buffer {
    return Buffer.from(this.shared, chunkTurns * storedBytes + turn * maxChunkBytes, bytes);
  }

  payloadCrc32c(turn: number, count: number): Uint32Array {
    const start = chunkTurns * (storedBytes + maxChunkBytes) + turn * checksumBytes;
    return new Uint32Array(this.shared, start, count);
  }
}

/** Its garbage is views of payloads, dead at once: more than this would only be resident. */
const maxYoungGenerationSizeMb = 6;

interface Waiting {
  readonly resolve: (reply: ChunkReply) => void;
  readonly reject: (error: Error) => void;
}

export class ChunkThread {
  readonly #worker: Worker;
  #waiting: Waiting | null = null;
  #ended: Error | null = null;

  constructor(memory: ChunkMemory) {
    this.#worker = new Worker(new URL('./chunk-worker.js', import.meta.url), {
      name: 'chunks',
      workerData: memory.shared,
      resourceLimits: { maxYoungGenerationSizeMb },
    });
    this.#worker.on('message', (reply: ChunkReply) => this.#settle(reply));
    this.#worker.on('error', (error: Error) => this.#end(error));
    this.#worker.on('exit', () => this.#end(new Error('the thread that checks chunks has ended')));
  }

  /** One at a time. Rejects when the thread cannot work. */
  check(request: ChunkRequest): Promise<ChunkReply> {
    assert(this.#waiting === null, 'one chunk is checked at a time');
    if (this.#ended !== null) return Promise.reject(this.#ended);
    this.#worker.postMessage(request, []);
    return new Promise((resolve, reject) => (this.#waiting = { resolve, reject }));
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #settle(reply: ChunkReply): void {
    this.#waiting?.resolve(reply);
    this.#waiting = null;
  }

  #end(error: Error): void {
    this.#ended ??= error;
    this.#waiting?.reject(this.#ended);
    this.#waiting = null;
  }
}

/**
 * What an embedded database must do to become a storage family: keep chunks of the log by their
 * first index, and a few named records, and change them in one atomic write.
 *
 * A chunk is a run of canonical entries back to back, exactly as in {@link EntryBatch}: one
 * database row for many entries. A replica that appends one entry at a time has rows of one entry;
 * an import writes rows of some hundred. Chunks never overlap, and lie without gaps from the one
 * that holds the first index to the last index.
 */
import type { EntryBatch } from '../entry-batch.ts';

export interface StoredChunk {
  readonly firstIndex: bigint;
  readonly bytes: Buffer;
}

/** One atomic change: removals first, then chunks and records. */
export interface StoreWrite {
  /** Removes the chunks whose first index is within `from..to`, inclusive. */
  readonly remove?: { readonly from: bigint; readonly to: bigint };
  /**
   * Each becomes one chunk. Without `remove` its bytes are copied before `write` returns its
   * promise.
   */
  readonly chunks: readonly EntryBatch[];
  /** Null removes the record. */
  readonly records: ReadonlyMap<string, Uint8Array | null>;
  /** Whether it, and every write before it, must be durable when the promise resolves. */
  readonly durable: boolean;
}

export interface ChunkStore {
  /** Whether a batch that comes packed is kept so, as one chunk. */
  readonly keepsPacked: boolean;
  /** All records. */
  records(): Promise<ReadonlyMap<string, Buffer>>;
  /** Atomic; in the order of calls. */
  write(write: StoreWrite): Promise<void>;
  /** Key of the chunk with the greatest first index that is at most `index`; null when none is. */
  chunkAt(index: bigint): Promise<bigint | null>;
  /**
   * The chunks whose first index is within `first..to`, in order, in groups of at most `maxBytes`,
   * one larger chunk aside. Nobody else holds the buffers.
   */
  chunks(range: { first: bigint; to: bigint; maxBytes: number }): AsyncIterable<StoredChunk[]>;
  close(): Promise<void>;
}

export interface StoreOpenOptions {
  /** Directory for the database's own files; made durable before opening it with `create`. */
  readonly path: string;
  readonly mode: 'read-only' | 'read-write' | 'create';
  /** Whether it is being filled by an import: large writes, durable only now and then. */
  readonly bulk: boolean;
}

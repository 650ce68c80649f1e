/** Executes mutation plans on a {@link ChunkStore}: each plan is one atomic, durable write. */
import { assert, fail } from '../../core/errors.ts';
import type { DurableState, ReadOptions, SnapshotStorage } from '../contracts.ts';
import { batchBytes, lastIndexOf, sliceBatch, type EntryBatch } from '../entry-batch.ts';
import type { StoreEngine } from '../managed-instance.ts';
import type { MutationPlan } from '../mutation-plan.ts';
import { preparedRecord, type SnapshotTrees } from '../snapshot-tree.ts';
import { clipBatch, splitBatch } from '../split-batch.ts';
import { cutChunks, joinBatches, parseChunk } from './chunk-cutting.ts';
import type { ChunkStore, StoredChunk, StoreWrite } from './chunk-store.ts';
import { encodeMeta, encodeRange, encodeSnapshot, type EngineState } from './engine-records.ts';

/**
 * Rows of single entries are joined up to this many bytes; larger ones are given without a copy.
 */
const joinBytes = 64 * 1024;
/** What the database is asked for at a time; it lies in memory four times on its way. */
const groupBytes = 512 * 1024;
/** Beyond every index: removal "to the end". */
export const endOfIndexes = 2n ** 63n - 1n;

export interface ChunkEngineOptions {
  readonly store: ChunkStore;
  readonly trees: SnapshotTrees;
  readonly state: EngineState;
  /** For messages. */
  readonly instance: string;
  /** For messages: the database's directory. */
  readonly file: string;
  readonly close: () => Promise<void>;
}

/** A read under way; `overtaken` when a mutation has changed what it had still to read. */
interface ReadCursor {
  next: bigint;
  readonly to: bigint;
  overtaken: boolean;
}

export class ChunkEngine implements StoreEngine {
  readonly snapshots: SnapshotStorage;
  readonly #options: ChunkEngineOptions;
  readonly #cursors = new Set<ReadCursor>();
  /** Its effects may be seen before the state tells of them. */
  #committing: MutationPlan | null = null;
  #state: EngineState;

  constructor(options: ChunkEngineOptions) {
    this.#options = options;
    this.#state = options.state;
    this.snapshots = {
      latest: async () => this.#state.snapshot && options.trees.open(this.#state.snapshot),
      begin: (meta) => options.trees.begin(meta),
      found: async () => options.trees.found(),
    };
  }

  async commit(plan: MutationPlan): Promise<void> {
    const { store, trees } = this.#options;
    const { firstIndex, lastIndex, meta } = plan.next;
    const snapshot = plan.snapshot ? preparedRecord(plan.snapshot) : this.#state.snapshot;
    const next: EngineState = { range: { first: firstIndex, last: lastIndex }, meta, snapshot };
    const write = await this.#writeOf(plan, next);
    for (const cursor of this.#cursors) cursor.overtaken ||= overtakes(plan, cursor);
    const replaced = this.#state.snapshot;
    this.#committing = plan;
    try {
      const isEmpty = !write.remove && write.chunks.length === 0 && write.records.size === 0;
      if (!isEmpty) await store.write(write);
      this.#state = next;
    } finally {
      this.#committing = null;
    }
    if (replaced !== null && replaced.id !== snapshot?.id) await trees.retire(replaced.id);
  }

  async *read(
    from: bigint,
    to: bigint,
    { maxBytes }: Required<ReadOptions>,
  ): AsyncGenerator<EntryBatch> {
    const cursor: ReadCursor = { next: from, to, overtaken: false };
    cursor.overtaken = this.#committing !== null && overtakes(this.#committing, cursor);
    this.#cursors.add(cursor);
    let joined: EntryBatch[] = [];
    let bytes = 0;
    try {
      for await (const batch of this.#batches(cursor, maxBytes)) {
        const more = batchBytes(batch);
        if (bytes > 0 && bytes + more > maxBytes) {
          yield joinBatches(joined);
          [joined, bytes] = [[], 0];
        }
        joined.push(batch);
        bytes += more;
        if (bytes < joinBytes) continue;
        yield joinBatches(joined);
        [joined, bytes] = [[], 0];
      }
      if (joined.length > 0) yield joinBatches(joined);
    } finally {
      this.#cursors.delete(cursor);
    }
  }

  close(): Promise<void> {
    return this.#options.close();
  }

  async *#batches(cursor: ReadCursor, maxBytes: number): AsyncGenerator<EntryBatch> {
    const { store } = this.#options;
    this.#requireRetained(cursor);
    const first = await store.chunkAt(cursor.next);
    if (first === null) throw this.#unreadable(cursor);
    const range = { first, to: cursor.to, maxBytes: Math.min(maxBytes, groupBytes) };
    for await (const group of store.chunks(range)) {
      for (const chunk of group) yield* splitBatch(this.#take(chunk, cursor), maxBytes);
    }
    if (cursor.next <= cursor.to) throw this.#unreadable(cursor);
  }

  /** The chunk's part of what the cursor reads; moves the cursor behind it. */
  #take(chunk: StoredChunk, cursor: ReadCursor): EntryBatch {
    const batch = parseChunk(chunk);
    const follows =
      batch !== null && batch.firstIndex <= cursor.next && lastIndexOf(batch) >= cursor.next;
    if (!follows || cursor.overtaken) throw this.#unreadable(cursor);
    const part = clipBatch(batch, { from: cursor.next, to: cursor.to });
    assert(part !== null, 'a chunk that holds the next entry has a part to read');
    cursor.next = lastIndexOf(part) + 1n;
    return part;
  }

  #requireRetained(cursor: ReadCursor): void {
    const { first, last } = this.#state.range;
    if (cursor.next < first || cursor.to > last) throw this.#overtakenBy(cursor);
  }

  #unreadable(cursor: ReadCursor): Error {
    if (cursor.overtaken) return this.#overtakenBy(cursor);
    const reason = `entry ${cursor.next} is missing or damaged`;
    return fail('data.corrupt', { file: this.#options.file, offset: 0, reason });
  }

  #overtakenBy(cursor: ReadCursor): Error {
    const { first, last } = this.#state.range;
    const { instance } = this.#options;
    return fail('log.out-of-range', { instance, index: cursor.next, first, last });
  }

  async #writeOf(plan: MutationPlan, next: EngineState): Promise<StoreWrite> {
    const cut = await this.#cutOf(plan);
    const records = new Map<string, Uint8Array>();
    const { first, last } = this.#state.range;
    const moved = next.range.first !== first || next.range.last !== last;
    if (moved) records.set('range', encodeRange(next.range));
    if (plan.meta) records.set('meta', encodeMeta(next.meta));
    if (plan.snapshot && next.snapshot) records.set('snapshot', encodeSnapshot(next.snapshot));
    const chunks = [...cut.chunks, ...plan.append.flatMap(cutChunks)];
    return { ...cut, chunks, records, durable: true };
  }

  /** What a reset or truncation removes, and the chunk that a suffix truncation cuts through. */
  async #cutOf(plan: MutationPlan): Promise<Pick<StoreWrite, 'remove' | 'chunks'>> {
    const { resetTo, firstKept, lastKept } = plan;
    const { first, last } = this.#state.range;
    const everything = { remove: { from: 0n, to: endOfIndexes }, chunks: [] };
    if (resetTo !== undefined) return everything;
    if (firstKept !== undefined) {
      if (firstKept > last) return everything;
      const kept = await this.#chunkHolding(firstKept);
      return { remove: { from: 0n, to: kept.firstIndex - 1n }, chunks: [] };
    }
    if (lastKept === undefined) return { chunks: [] };
    if (lastKept < first) return everything;
    const kept = await this.#chunkHolding(lastKept);
    const cut = lastIndexOf(kept) > lastKept;
    const count = Number(lastKept - kept.firstIndex) + 1;
    return {
      remove: { from: lastKept + 1n, to: endOfIndexes },
      chunks: cut ? [sliceBatch(kept, 0, count)] : [],
    };
  }

  /** The whole chunk that holds `index`. */
  async #chunkHolding(index: bigint): Promise<EntryBatch> {
    const { store } = this.#options;
    const cursor: ReadCursor = { next: index, to: index, overtaken: false };
    const first = await store.chunkAt(index);
    if (first === null) throw this.#unreadable(cursor);
    for await (const [chunk] of store.chunks({ first, to: first, maxBytes: 1 })) {
      const batch = chunk && parseChunk(chunk);
      if (batch && lastIndexOf(batch) >= index) return batch;
    }
    throw this.#unreadable(cursor);
  }
}

/** Whether `plan` changes what the read has still to give; it ends with `log.out-of-range` then. */
function overtakes({ resetTo, firstKept, lastKept }: MutationPlan, cursor: ReadCursor): boolean {
  return (
    resetTo !== undefined ||
    (firstKept !== undefined && cursor.next < firstKept) ||
    (lastKept !== undefined && cursor.to > lastKept)
  );
}

export function durableState({ range, meta, snapshot }: EngineState): DurableState {
  return {
    firstIndex: range.first,
    lastIndex: range.last,
    meta,
    snapshot: snapshot?.meta ?? null,
  };
}

/**
 * Chunks and records in SQLite, which lives in a thread of its own (engine-worker.ts has the
 * tables).
 */
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

import { assert, fail } from '../../../core/errors.ts';
import { canonicalBytes, type EntryBatch } from '../../entry-batch.ts';
import { isErrno } from '../../files.ts';
import { nodeFileLayer } from '../../node-file-layer.ts';
import { buffersSpent } from '../../spent-buffers.ts';
import type {
  ChunkStore,
  StoredChunk,
  StoreOpenOptions,
  StoreWrite,
} from '../../engines/chunk-store.ts';
import type { CallName, Calls, PackedChunks, Reply } from './engine-messages.ts';

/** Buffers that come back from writes are kept for the next ones, up to this size in bytes. */
const maxSpareBytes = 8 * 1024 * 1024;
const maxSpares = 2;

/** An import begins to sync after so many bytes, and syncs on while more are written. */
const syncBehindBytes = 16 * 1024 * 1024;

/** @throws `io.failed`, `data.corrupt` */
export async function openSqliteStore(options: StoreOpenOptions): Promise<ChunkStore> {
  const { path, mode, bulk } = options;
  const file = join(path, 'state.sqlite');
  const thread = new DatabaseThread(file);
  try {
    await thread.call('open', { file, mode, bulk });
    if (mode !== 'read-only') await makeDurable(path, file);
    return new SqliteStore(thread, bulk ? await open(file, 'r') : null);
  } catch (error) {
    await thread.end();
    throw error;
  }
}

/**
 * What a writer reads it may act on, so it must outlive a power loss: a process that was killed
 * before its sync leaves commits in the log that the next one reads. SQLite syncs them only with
 * its next commit, and passes over a failure to sync the name of a log or journal that it made.
 */
async function makeDurable(path: string, file: string): Promise<void> {
  const log = await open(`${file}-wal`, 'r').catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return null;
    throw error;
  });
  try {
    await log?.sync();
  } finally {
    await log?.close();
  }
  await nodeFileLayer.syncDirectory(path);
}

interface Waiting {
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
}

/** Calls into the worker, answered in order. */
class DatabaseThread {
  readonly #worker: Worker;
  readonly #file: string;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #ended: Error | null = null;

  constructor(file: string) {
    this.#file = file;
    this.#worker = new Worker(new URL('./engine-worker.js', import.meta.url), { name: 'sqlite' });
    this.#worker.on('message', (reply: Reply) => this.#settle(reply));
    this.#worker.on('error', (error) => this.#end(error));
    this.#worker.on('exit', () => this.#end(new Error('its thread has ended')));
  }

  /**
   * Ends the thread. libsql closes the database's files only once its statements are collected:
   * that is when the thread is gone, and not before.
   */
  async end(): Promise<void> {
    this.#end(new Error('it is closed'));
    await this.#worker.terminate();
  }

  call<Name extends CallName>(
    name: Name,
    argument: Calls[Name]['argument'],
    transfer: ArrayBuffer[] = [],
  ): Promise<Calls[Name]['result']> {
    if (this.#ended !== null) return Promise.reject(this.#failure(this.#ended.message));
    this.#lastId += 1;
    const id = this.#lastId;
    this.#worker.postMessage({ id, name, argument }, transfer);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #settle(reply: Reply): void {
    const waiting = this.#waiting.get(reply.id);
    assert(waiting !== undefined, 'the database answers each call once');
    this.#waiting.delete(reply.id);
    if ('result' in reply) waiting.resolve(reply.result as never);
    else waiting.reject(this.#failure(reply.failure.message, reply.failure));
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const waiting of this.#waiting.values()) waiting.reject(this.#failure(error.message));
    this.#waiting.clear();
  }

  #failure(reason: string, { corrupt }: { corrupt: boolean } = { corrupt: false }): Error {
    const file = this.#file;
    // SQLite reads an empty file, and another program's database, without complaint.
    const foreign = reason.startsWith('no such table');
    const cause = new Error(reason);
    if (corrupt || foreign) return fail('data.corrupt', { file, offset: 0, reason }, { cause });
    return fail('io.failed', { action: 'use database', path: file, reason }, { cause });
  }
}

class SqliteStore implements ChunkStore {
  readonly keepsPacked = false;
  readonly #thread: DatabaseThread;
  readonly #spares: ArrayBuffer[] = [];
  /**
   * The database's file a second time. Closing it takes away the locks that SQLite has on the file:
   * it is closed after the database.
   */
  readonly #file: FileHandle | null;
  #unsyncedBytes = 0;
  #syncing: Promise<void> | null = null;
  #closed: Promise<void> | null = null;

  constructor(thread: DatabaseThread, file: FileHandle | null) {
    this.#thread = thread;
    this.#file = file;
  }

  async records(): Promise<ReadonlyMap<string, Buffer>> {
    const records = await this.#thread.call('records', null);
    return new Map(records.map(([name, value]) => [name, Buffer.from(value)]));
  }

  async write({ remove, chunks, records, durable }: StoreWrite): Promise<void> {
    const packed = this.#pack(chunks);
    if (durable && this.#syncing !== null) await this.#syncing;
    const argument = { remove: remove ?? null, chunks: packed, records: [...records], durable };
    const buffer = await this.#thread.call('write', argument, [packed.buffer]);
    this.#syncBehind(packed.sizes.reduce((sum, size) => sum + size, 0));
    const keeps = buffer.byteLength <= maxSpareBytes && this.#spares.length < maxSpares;
    if (keeps) this.#spares.push(buffer);
  }

  /**
   * Lets the disk take what an import has written while more is: a commit, which syncs for itself,
   * then finds little left. After a failure no commit is asked for.
   */
  #syncBehind(bytes: number): void {
    this.#unsyncedBytes += bytes;
    if (this.#file === null || this.#syncing !== null) return;
    if (this.#unsyncedBytes < syncBehindBytes) return;
    this.#unsyncedBytes = 0;
    this.#syncing = this.#file.datasync().then(() => {
      this.#syncing = null;
    });
    // The next commit throws it.
    this.#syncing.catch(() => {});
  }

  chunkAt(index: bigint): Promise<bigint | null> {
    return this.#thread.call('chunkAt', index);
  }

  /** The next group is read while the one before is used. */
  async *chunks(range: {
    first: bigint;
    to: bigint;
    maxBytes: number;
  }): AsyncGenerator<StoredChunk[]> {
    const { to, maxBytes } = range;
    const ask = (first: bigint) => {
      const asked = this.#thread.call('chunks', { first, to, maxBytes });
      asked.catch(() => {});
      return asked;
    };
    for (let asked = ask(range.first); ;) {
      const group = unpack(await asked);
      const last = group.at(-1)?.firstIndex;
      if (last === undefined) return;
      if (last < to) asked = ask(last + 1n);
      for (const { bytes } of group) buffersSpent(bytes.length);
      yield group;
      if (last >= to) return;
    }
  }

  async close(): Promise<void> {
    this.#closed ??= this.#closeNow();
    await this.#closed;
  }

  async #closeNow(): Promise<void> {
    try {
      await this.#thread.call('close', null);
    } finally {
      await this.#thread.end();
      await this.#syncing?.catch(() => {});
      await this.#file?.close();
    }
  }

  #pack(chunks: readonly EntryBatch[]): PackedChunks {
    const runs = chunks.map(canonicalBytes);
    const total = runs.reduce((sum, run) => sum + run.length, 0);
    const buffer = this.#takeBuffer(total);
    const target = Buffer.from(buffer);
    let at = 0;
    for (const run of runs) at += run.copy(target, at);
    return {
      firsts: BigInt64Array.from(chunks, (chunk) => chunk.firstIndex),
      sizes: Uint32Array.from(runs, (run) => run.length),
      buffer,
    };
  }

  #takeBuffer(bytes: number): ArrayBuffer {
    const spare = this.#spares.pop();
    return spare !== undefined && spare.byteLength >= bytes ? spare : new ArrayBuffer(bytes);
  }
}

function unpack({ firsts, sizes, buffer }: PackedChunks): StoredChunk[] {
  let at = 0;
  return Array.from(firsts, (firstIndex, i) => {
    const bytes = Buffer.from(buffer, at, sizes[i]);
    at += bytes.length;
    return { firstIndex, bytes };
  });
}

/**
 * Chunks and records in RocksDB, by npm rocksdb 5.2.1; the only file that knows the package.
 *
 *     "R" <name>                          record
 *     "e" <first index, u64 big-endian>   chunk (chunk-value.ts)
 *
 * Records sort before chunks and are not written during an import: then each new table file begins
 * after the one before, and RocksDB moves files down its levels instead of merging them.
 *
 * A write is one WriteBatch. Durable means `sync`, which also makes every earlier batch durable:
 * they lie before it in the same write-ahead log. A new log begins once 8 MiB are in memory. Then
 * RocksDB syncs what it writes there, but only the first log of an opening by its name: of the
 * others the names are synced here. RocksDB checks its own checksums when reading.
 */
import { setTimeout } from 'node:timers/promises';

import type RocksDb from 'rocksdb';
import type { BatchOperation, IteratorOptions, RocksDbIterator } from 'rocksdb';

import { fail, messageOf } from '../../../core/errors.ts';
import { nodeFileLayer } from '../../node-file-layer.ts';
import { shareNativeHeaps } from '../../native-heap.ts';
import { buffersSpent } from '../../spent-buffers.ts';
import type {
  ChunkStore,
  StoredChunk,
  StoreOpenOptions,
  StoreWrite,
} from '../../engines/chunk-store.ts';
import { BulkValues, contentOf, plainValue, type ChunkValue } from './chunk-value.ts';
import { namedManifest, restoreManifest } from './lost-manifest.ts';

const chunkTag = 'e'.charCodeAt(0);
const recordTag = 'R'.charCodeAt(0);

/** Blocks of 64 KiB: a chunk is one or two of them, and compresses better than in 4 KiB. */
const blockBytes = 64 * 1024;
/**
 * Two of them may be in memory. Against 4 MiB half the table files and syncs, and a tenth less
 * processor time for an import that does not compress; larger ones only use more memory.
 */
const writeBufferBytes = 8 * 1024 * 1024;
const cacheBytes = 8 * 1024 * 1024;

/** Changes whenever a new log has begun, and a few times besides; half a microsecond to ask for. */
const versionProperty = 'rocksdb.current-super-version-number';

/**
 * After a write that found the disk full RocksDB recovers by itself as soon as there is room.
 * Closed in the middle of that, it waits for ever (seen once in ten closes): it gets this time
 * first.
 */
const recoveryMs = 1000;
/** A close takes milliseconds, or a flush of 8 MiB; beyond this it hangs. */
const maxCloseMs = 30_000;

function chunkKey(index: bigint): Buffer {
  const key = Buffer.allocUnsafe(9);
  key.writeUInt8(chunkTag, 0);
  key.writeBigUInt64BE(index, 1);
  return key;
}

function recordKey(name: string): Buffer {
  return Buffer.concat([Buffer.from([recordTag]), Buffer.from(name)]);
}

const recordRange = { gte: Buffer.from([recordTag]), lte: Buffer.from([recordTag + 1]) };

/** @throws `io.failed`, `data.corrupt` */
export async function openRocksDbStore(options: StoreOpenOptions): Promise<ChunkStore> {
  shareNativeHeaps();
  const { default: RocksDbConstructor } = await import('rocksdb');
  const db = new RocksDbConstructor(options.path);
  const create = options.mode === 'create';
  const present = options.mode === 'read-write';
  if (present) await restoreManifest(options.path);
  const manifest = present ? await namedManifest(options.path) : null;
  const opened = new Promise<void>((resolve, reject) => {
    db.open(
      {
        createIfMissing: create,
        errorIfExists: create,
        readOnly: options.mode === 'read-only',
        // Of what an import compresses, a second compression would find nothing.
        compression: !options.bulk,
        blockSize: blockBytes,
        writeBufferSize: writeBufferBytes,
        cacheSize: cacheBytes,
      },
      (error) => (error ? reject(storeError(error, 'open', options.path)) : resolve()),
    );
  });
  try {
    await opened;
  } catch (error) {
    // Where the disk does not take this either, the next opening tries.
    if (manifest !== null) await restoreManifest(options.path, manifest).catch(() => {});
    throw error;
  }
  return new RocksDbStore(db, options.path);
}

function storeError(error: Error, action: string, path: string): Error {
  if (error.message.startsWith('Corruption')) {
    return fail('data.corrupt', { file: path, offset: 0, reason: error.message }, { cause: error });
  }
  return fail('io.failed', { action, path, reason: error.message }, { cause: error });
}

class RocksDbStore implements ChunkStore {
  readonly keepsPacked = true;
  readonly #db: RocksDb;
  readonly #path: string;
  /** The last write of an import: the next is committed after it, so that keys ascend. */
  #bulk: Promise<void> = Promise.resolve();
  /** The {@link versionProperty} at which the names in its directory were durable. */
  #namedVersion = '';
  readonly #values = new BulkValues();
  #closed: Promise<void> | null = null;
  #foundFull = false;

  constructor(db: RocksDb, path: string) {
    this.#db = db;
    this.#path = path;
  }

  async records(): Promise<ReadonlyMap<string, Buffer>> {
    const records = new Map<string, Buffer>();
    for await (const [key, value] of this.#scan(recordRange)) {
      records.set(key.subarray(1).toString('utf8'), value);
    }
    return records;
  }

  async write(write: StoreWrite): Promise<void> {
    const entriesOnly = write.remove === undefined && write.records.size === 0;
    if (write.durable || !entriesOnly) return this.#writeWhole(write);
    const { made, release } = this.#values.of(write.chunks);
    // Nothing of it counts before the next durable write.
    this.#bulk = Promise.allSettled([made, this.#bulk]).then(async () => {
      const committed = this.#commit((await made).map(putOf), { sync: false });
      release();
      return committed;
    });
    return this.#bulk;
  }

  async #writeWhole(write: StoreWrite): Promise<void> {
    const given = operationsOf(write);
    await Promise.allSettled([this.#bulk]);
    const operations: BatchOperation[] = [];
    if (write.chunks.length === 0 && write.records.size === 0) {
      operations.push(...(await this.#lastAgain()));
    }
    if (write.remove !== undefined) operations.push(...(await this.#removals(write.remove)));
    operations.push(...given);
    await this.#commit(operations, { sync: write.durable });
    if (write.durable) await this.#nameLog();
  }

  /** After a sync: it counts only where a later opening finds the log that it was of. */
  async #nameLog(): Promise<void> {
    const version = this.#db.getProperty(versionProperty);
    if (version === this.#namedVersion) return;
    await nodeFileLayer.syncDirectory(this.#path);
    this.#namedVersion = version;
  }

  /** A batch must hold something to be synced: the last chunk as it is, or the format record. */
  async #lastAgain(): Promise<BatchOperation[]> {
    const lastChunk = { gte: chunkKey(0n), lte: chunkKey(2n ** 63n), reverse: true, limit: 1 };
    for (const range of [lastChunk, recordRange]) {
      const found: BatchOperation[] = [];
      for await (const [key, value] of this.#scan(range)) found.push({ type: 'put', key, value });
      if (found.length > 0) return found;
    }
    return [];
  }

  /** Its bytes are copied at once. Freed with the write, where a chained batch waits for V8. */
  #commit(operations: readonly BatchOperation[], options: { sync: boolean }): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#db.batch(operations, options, (error) => {
        if (!error) return resolve();
        this.#foundFull ||= error.message.includes('No space');
        reject(storeError(error, 'write', this.#path));
      });
    });
  }

  async chunkAt(index: bigint): Promise<bigint | null> {
    const range = { gte: chunkKey(0n), lte: chunkKey(index), reverse: true, limit: 1 };
    for await (const [key] of this.#scan({ ...range, values: false })) {
      return key.readBigUInt64BE(1);
    }
    return null;
  }

  async *chunks(range: {
    first: bigint;
    to: bigint;
    maxBytes: number;
  }): AsyncGenerator<StoredChunk[]> {
    const options = {
      gte: chunkKey(range.first),
      lte: chunkKey(range.to),
      highWaterMark: range.maxBytes,
      fillCache: false,
    };
    for await (const [key, bytes] of this.#scan(options)) {
      buffersSpent(bytes.length);
      yield [{ firstIndex: key.readBigUInt64BE(1), bytes: this.#contentOf(bytes) }];
    }
  }

  #contentOf(value: Buffer): Buffer {
    try {
      return contentOf(value);
    } catch (cause) {
      const text = messageOf(cause);
      const reason = `a chunk cannot be read: ${text}`;
      throw fail('data.corrupt', { file: this.#path, offset: 0, reason }, { cause });
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#closeNow();
    return this.#closed;
  }

  async #closeNow(): Promise<void> {
    if (this.#foundFull) await setTimeout(recoveryMs);
    const closed = new Promise<void>((resolve, reject) => {
      this.#db.close((error) =>
        error ? reject(storeError(error, 'close', this.#path)) : resolve(),
      );
    });
    const limit = new AbortController();
    const late = setTimeout(maxCloseMs, undefined, { signal: limit.signal }).then(() => {
      throw storeError(new Error('RocksDB does not end: end this process'), 'close', this.#path);
    });
    try {
      await Promise.race([closed, late]);
    } finally {
      limit.abort();
    }
  }

  /** Deletions of the keys present: the batch stays as small as what it removes. */
  async #removals(remove: { from: bigint; to: bigint }): Promise<BatchOperation[]> {
    if (remove.from > remove.to) return [];
    const range = { gte: chunkKey(remove.from), lte: chunkKey(remove.to), values: false };
    const found: BatchOperation[] = [];
    for await (const [key] of this.#scan(range)) found.push({ type: 'del', key });
    return found;
  }

  /** Ends the native iterator whatever happens: the database cannot close before. */
  async *#scan(options: IteratorOptions): AsyncGenerator<[Buffer, Buffer]> {
    const iterator = this.#db.iterator(options);
    try {
      for (;;) {
        const found = await this.#next(iterator);
        if (found === null) return;
        yield found;
      }
    } finally {
      await new Promise<void>((resolve) => iterator.end(() => resolve()));
    }
  }

  #next(iterator: RocksDbIterator): Promise<[Buffer, Buffer] | null> {
    return new Promise((resolve, reject) => {
      iterator.next((error, key, value) => {
        if (error) reject(storeError(error, 'read', this.#path));
        else resolve(key === undefined || value === undefined ? null : [key, value]);
      });
    });
  }
}

function putOf({ firstIndex, value }: ChunkValue): BatchOperation {
  return { type: 'put', key: chunkKey(firstIndex), value };
}

function operationsOf({ chunks, records }: Pick<StoreWrite, 'chunks' | 'records'>) {
  const operations = chunks.map((chunk) => putOf(plainValue(chunk)));
  for (const [name, value] of records) {
    const key = recordKey(name);
    operations.push(value === null ? { type: 'del', key } : { type: 'put', key, value });
  }
  return operations;
}

/**
 * The database's own thread: SQLite calls block. By libsql 0.5.29, which has better-sqlite3's API.
 *
 *     chunk(first INTEGER PRIMARY KEY, crc INTEGER, entries BLOB)    crc: CRC-32 of the entries
 *     record(name TEXT PRIMARY KEY, value BLOB)
 *
 * An instance is in WAL mode with synchronous=FULL: a commit is durable. An import instead uses a
 * rollback journal and one transaction from checkpoint to checkpoint: pages that are new to the
 * file need no journal, so that every byte is written once.
 */
import { parentPort } from 'node:worker_threads';
import { crc32 } from 'node:zlib';

import Database from 'libsql';

import { buffersSpent } from '../../spent-buffers.ts';
import { assert, InvariantError, messageOf } from '../../../core/errors.ts';
import type { Calls, DatabaseOptions, PackedChunks, Reply, Request } from './engine-messages.ts';

/**
 * Importing is bound by pages, each a write of its own: 8 KiB took a third longer, 64 KiB more
 * memory.
 */
const pageBytes = 16384;
/**
 * The page cache; negative in SQLite's pragma: KiB. Both import and reading pass each page once; of
 * 8 MiB an import made three times as much resident, and was no faster.
 */
const cacheKib = 2048;
/** How many rows are looked at for their size before they are read. */
const maxGroupRows = 256;

class DatabaseError extends Error {
  readonly corrupt: boolean;

  constructor(message: string, corrupt: boolean) {
    super(message);
    this.corrupt = corrupt;
  }
}

/** SQLite's URI form of a path: `?`, `#` and `%` have a meaning there. */
function fileUri(path: string, mode: string): string {
  return `file:${path.replace(/[%?#]/g, encodeURIComponent)}?mode=${mode}`;
}

const uriModes = { 'read-only': 'ro', 'read-write': 'rw', create: 'rwc' } as const;

function openDatabase({ file, mode, bulk }: DatabaseOptions): Database.Database {
  const db = new Database(fileUri(file, uriModes[mode]));
  db.exec(`PRAGMA cache_size=-${cacheKib}`);
  if (mode === 'read-only') return db;
  if (mode === 'create') db.exec(`PRAGMA page_size=${pageBytes}`);
  db.exec('PRAGMA synchronous=FULL');
  const wanted = bulk ? 'truncate' : 'wal';
  const [journal] = db.prepare(`PRAGMA journal_mode=${wanted}`).raw().all() as string[][];
  if (journal?.[0] !== wanted) {
    throw new DatabaseError(`its journal mode must be ${wanted}: it is ${journal?.[0]}`, false);
  }
  if (mode === 'create') {
    db.exec(`
      CREATE TABLE chunk(first INTEGER PRIMARY KEY, crc INTEGER NOT NULL, entries BLOB NOT NULL);
      CREATE TABLE record(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    `);
  }
  return db;
}

class OpenDatabase {
  readonly #db: Database.Database;
  readonly #statements = new Map<string, Database.Statement>();
  #groupRows = 8;

  constructor(options: DatabaseOptions) {
    this.#db = openDatabase(options);
  }

  records(): Calls['records']['result'] {
    return this.#prepare('SELECT name, value FROM record').all() as [string, Uint8Array][];
  }

  /** Within the transaction of an import, where one is open; a durable write ends it. */
  write({ remove, chunks, records, durable }: Calls['write']['argument']): ArrayBuffer {
    if (!this.#db.inTransaction) this.#db.exec('BEGIN IMMEDIATE');
    try {
      if (remove !== null) {
        this.#prepare('DELETE FROM chunk WHERE first BETWEEN ? AND ?').run(remove.from, remove.to);
      }
      this.#putChunks(chunks);
      for (const [name, value] of records) this.#putRecord(name, value);
      if (durable) this.#db.exec('COMMIT');
    } catch (error) {
      if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
    buffersSpent(chunks.buffer.byteLength);
    return chunks.buffer;
  }

  #putChunks({ firsts, sizes, buffer }: PackedChunks): void {
    const put = this.#prepare('INSERT OR REPLACE INTO chunk(first, crc, entries) VALUES (?, ?, ?)');
    let at = 0;
    for (const [i, first] of firsts.entries()) {
      const entries = Buffer.from(buffer, at, sizes[i]);
      put.run(first, crc32(entries), entries);
      at += entries.length;
    }
  }

  #putRecord(name: string, value: Uint8Array | null): void {
    if (value === null) this.#prepare('DELETE FROM record WHERE name = ?').run(name);
    else {
      const put = this.#prepare('INSERT OR REPLACE INTO record(name, value) VALUES (?, ?)');
      put.run(name, Buffer.from(value.buffer, value.byteOffset, value.byteLength));
    }
  }

  chunkAt(index: bigint): bigint | null {
    const sql = 'SELECT first FROM chunk WHERE first <= ? ORDER BY first DESC LIMIT 1';
    const [row] = this.#prepare(sql).all(index) as [bigint][];
    return row?.[0] ?? null;
  }

  chunks(range: Calls['chunks']['argument']): PackedChunks {
    const rows = this.#rowsWithin(range);
    const sql = 'SELECT first, crc, entries FROM chunk WHERE first BETWEEN ? AND ? ORDER BY first';
    const last = rows.at(-1)?.[0];
    if (last === undefined) return packRows([]);
    return packRows(this.#prepare(sql).all(range.first, last) as ChunkRow[]);
  }

  /** First index and size of the rows that fit: sizes first, so that memory stays bounded. */
  #rowsWithin({ first, to, maxBytes }: Calls['chunks']['argument']): [bigint, bigint][] {
    const sql =
      'SELECT first, length(entries) FROM chunk WHERE first BETWEEN ? AND ? ORDER BY first LIMIT ?';
    const limit = this.#groupRows;
    const rows = this.#prepare(sql).all(first, to, limit) as [bigint, bigint][];
    let bytes = 0;
    let fitting = rows.findIndex(([, size]) => (bytes += Number(size)) > maxBytes);
    if (fitting < 0) fitting = rows.length;
    // Rows may be of one entry or of a hundred: look at twice as many as fitted last.
    this.#groupRows = Math.min(maxGroupRows, Math.max(8, fitting * 2));
    return rows.slice(0, Math.max(fitting, 1));
  }

  close(): void {
    this.#statements.clear();
    if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
    this.#db.close();
  }

  /** Prepared once; rows as arrays, integers as bigint. */
  #prepare(sql: string): Database.Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      if (sql.startsWith('SELECT')) statement.raw(true).safeIntegers(true);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

type ChunkRow = [first: bigint, crc: bigint, entries: Buffer];

function packRows(rows: readonly ChunkRow[]): PackedChunks {
  const total = rows.reduce((sum, [, , entries]) => sum + entries.length, 0);
  const packed = Buffer.from(new ArrayBuffer(total));
  buffersSpent(2 * total);
  const firsts = new BigInt64Array(rows.length);
  const sizes = new Uint32Array(rows.length);
  let at = 0;
  for (const [i, [first, crc, entries]] of rows.entries()) {
    if (BigInt(crc32(entries)) !== crc) {
      throw new DatabaseError(`the checksum of the chunk at entry ${first} is wrong`, true);
    }
    packed.set(entries, at);
    firsts[i] = first;
    sizes[i] = entries.length;
    at += entries.length;
  }
  const { buffer } = packed;
  assert(buffer instanceof ArrayBuffer, 'a packed buffer is not shared');
  return { firsts, sizes, buffer };
}

function isCorruption(error: unknown): boolean {
  if (error instanceof DatabaseError) return error.corrupt;
  return /^SQLITE_(CORRUPT|NOTADB)/.test(codeOf(error));
}

/** SQLite's own, such as SQLITE_IOERR_FSYNC; empty where there is none. */
function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** The one that is open: a thread serves one database after the other. */
let opened: OpenDatabase | null = null;

function openOne(options: DatabaseOptions): null {
  assert(opened === null, 'a thread has one database open at a time');
  opened = new OpenDatabase(options);
  return null;
}

function closeOne(): null {
  const database = opened;
  opened = null;
  database?.close();
  return null;
}

function answer(request: Request): Reply {
  const { id, name, argument } = request;
  if (name === 'open') return { id, result: openOne(argument) };
  if (name === 'close') return { id, result: closeOne() };
  assert(opened !== null, 'a database is open');
  switch (name) {
    case 'records':
      return { id, result: opened.records() };
    case 'write':
      return { id, result: opened.write(argument) };
    case 'chunkAt':
      return { id, result: opened.chunkAt(argument) };
    case 'chunks':
      return { id, result: opened.chunks(argument) };
    default:
      throw new InvariantError(`no call has the name "${String(name)}"`);
  }
}

function transferred(reply: Reply): ArrayBuffer[] {
  if (!('result' in reply) || reply.result === null) return [];
  if (reply.result instanceof ArrayBuffer) return [reply.result];
  return typeof reply.result === 'object' && 'buffer' in reply.result ? [reply.result.buffer] : [];
}

function failureOf(id: number, error: unknown): Reply {
  const text = messageOf(error);
  // "disk I/O error" alone does not say whether a write failed or a sync.
  const message = codeOf(error) === '' ? text : `${text} (${codeOf(error)})`;
  return { id, failure: { message, corrupt: isCorruption(error) } };
}

function serve(): void {
  const port = parentPort;
  assert(port !== null, 'this module runs in a worker thread');
  port.on('message', (request: Request) => {
    try {
      const reply = answer(request);
      port.postMessage(reply, transferred(reply));
    } catch (error) {
      port.postMessage(failureOf(request.id, error));
    }
  });
}

serve();

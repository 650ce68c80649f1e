/**
 * The control plane's own database, `<controlDir>/control.db`: SQLite in WAL mode with
 * synchronous=FULL, so that a commit is durable. Several processes may have it open: a change waits
 * for that of another one, up to {@link busyMs}.
 *
 * Lives in the store's thread (store-thread.ts), where a call may block. By libsql 0.5.29, which
 * has better-sqlite3's API.
 */
import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  unlinkSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

import Database from 'libsql';

import { assert, fail } from '../core/errors.ts';

/** A change takes a millisecond, and some more where its disk is slow. */
const busyMs = 10_000;

/** Read and written by nobody but the owner: it holds tokens' hashes and who did what. */
const ownerOnlyDirectory = 0o700;
const ownerOnlyFile = 0o600;

/**
 * One entry a version, in order, never changed once released. `PRAGMA user_version` counts those
 * that a database has.
 */
const migrations: readonly string[] = [
  `
  CREATE TABLE snapshot(
    digest TEXT PRIMARY KEY, policy TEXT NOT NULL, rollout_id TEXT NOT NULL,
    requested_by TEXT NOT NULL, clusters INTEGER NOT NULL, at TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE snapshot_cluster(
    digest TEXT NOT NULL, position INTEGER NOT NULL, cluster TEXT NOT NULL,
    hosts TEXT NOT NULL, members TEXT NOT NULL, PRIMARY KEY(digest, position)
  ) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX snapshot_cluster_name ON snapshot_cluster(digest, cluster);

  CREATE TABLE inventory(
    revision INTEGER PRIMARY KEY, digest TEXT NOT NULL, at TEXT NOT NULL, by TEXT NOT NULL,
    content TEXT NOT NULL
  ) STRICT;

  CREATE TABLE audit(
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at TEXT NOT NULL, by TEXT NOT NULL,
    role TEXT, action TEXT NOT NULL, subject TEXT NOT NULL, reason TEXT NOT NULL,
    digests TEXT NOT NULL, outcome TEXT, previous TEXT NOT NULL, hash TEXT NOT NULL
  ) STRICT;
  CREATE INDEX audit_subject ON audit(subject, seq);
  CREATE INDEX audit_by ON audit(by, seq);
  CREATE TRIGGER audit_follows BEFORE INSERT ON audit
    WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM audit)
    BEGIN SELECT RAISE(ABORT, 'audit lines follow each other'); END;
  CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'audit lines are never changed'); END;
  CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'audit lines are never deleted'); END;

  CREATE TABLE token(
    id TEXT PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, role TEXT NOT NULL,
    created_at INTEGER NOT NULL, created_by TEXT NOT NULL, expires_at INTEGER,
    last_used_at INTEGER, revoked_at INTEGER
  ) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX token_name ON token(name) WHERE revoked_at IS NULL;

  CREATE TABLE operation(
    principal TEXT NOT NULL, key TEXT NOT NULL, payload TEXT NOT NULL, begun_at INTEGER NOT NULL,
    runner TEXT NOT NULL, status INTEGER, body TEXT, PRIMARY KEY(principal, key)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX operation_begun ON operation(begun_at);

  CREATE TABLE notice(
    id TEXT PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
    text TEXT NOT NULL, attempts INTEGER NOT NULL, due_at INTEGER, failure TEXT
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX notice_due ON notice(due_at) WHERE due_at IS NOT NULL;
  `,
  `
  CREATE TABLE rollout(
    fleet TEXT NOT NULL, rollout_id TEXT NOT NULL, snapshot TEXT NOT NULL,
    started_at INTEGER NOT NULL, PRIMARY KEY(fleet, rollout_id)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE cluster_result(
    fleet TEXT NOT NULL, rollout_id TEXT NOT NULL, cluster TEXT NOT NULL, outcome TEXT NOT NULL,
    reason TEXT, at INTEGER NOT NULL, PRIMARY KEY(fleet, rollout_id, cluster)
  ) STRICT, WITHOUT ROWID;
  `,
];

/** No bytes: libsql takes a lone buffer for named parameters, and ends the process. */
export type Value = string | number | null;
export type Row = Readonly<Record<string, unknown>>;

/** One open database; calls block. */
export class ControlTables {
  readonly file: string;
  readonly #db: Database.Database;
  readonly #statements = new Map<string, Database.Statement>();

  /** Makes the directory and the database where they are missing. @throws `store.unusable` */
  static open(controlDir: string): ControlTables {
    const file = join(controlDir, 'control.db');
    try {
      mkdirSync(controlDir, { recursive: true, mode: ownerOnlyDirectory });
      makeFile(file);
      chmodSync(file, ownerOnlyFile);
      const tables = new ControlTables(file);
      tables.#migrate();
      // What another process committed and had not synced yet may be read, and acted on, here.
      tables.syncLog();
      syncPath(controlDir);
      syncPath(dirname(controlDir));
      return tables;
    } catch (error) {
      throw unusable(file, error);
    }
  }

  private constructor(file: string) {
    this.file = file;
    this.#db = new Database(file);
    this.#db.exec(`PRAGMA busy_timeout=${busyMs}`);
    const [mode] = this.#db.prepare('PRAGMA journal_mode=WAL').raw().all() as string[][];
    if (mode?.[0] !== 'wal') throw new Error(`its journal mode must be wal: it is ${mode?.[0]}`);
    this.#db.exec('PRAGMA synchronous=FULL');
  }

  /** Makes durable what was read: whoever committed it may have died before its sync. */
  syncLog(): void {
    syncPath(`${this.file}-wal`);
  }

  /** Runs `work` as one durable change, alone among all processes. */
  change<Result>(work: () => Result): Result {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.#db.exec('COMMIT');
      return result;
    } catch (error) {
      if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  all(sql: string, ...values: readonly Value[]): Row[] {
    return this.#prepare(sql).all(...values) as Row[];
  }

  /** The only row, or null. */
  one(sql: string, ...values: readonly Value[]): Row | null {
    return this.all(sql, ...values)[0] ?? null;
  }

  /** @returns how many rows changed */
  run(sql: string, ...values: readonly Value[]): number {
    return this.#prepare(sql).run(...values).changes;
  }

  close(): void {
    this.#statements.clear();
    this.#db.close();
  }

  #migrate(): void {
    this.change(() => {
      const [version] = this.#db.prepare('PRAGMA user_version').raw().all() as number[][];
      const present = version?.[0] ?? 0;
      if (present > migrations.length) {
        const reason = `it is of version ${present}, this release knows ${migrations.length}`;
        throw fail('store.unusable', { file: this.file, reason });
      }
      for (const [i, sql] of migrations.entries()) {
        if (i < present) continue;
        this.#db.exec(sql);
        this.#db.exec(`PRAGMA user_version=${i + 1}`);
      }
    });
  }

  #prepare(sql: string): Database.Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/**
 * Before SQLite makes it with the process's own permissions; its other files follow this one.
 * Never by opening the database itself: closing a file of it lets go of every lock that this
 * process has on it, and whoever closes it next takes the write-ahead log away under a store that
 * is open here.
 */
function makeFile(file: string): void {
  if (existsSync(file)) return;
  const made = `${file}.${randomUUID()}`;
  closeSync(openSync(made, 'wx', ownerOnlyFile));
  try {
    linkSync(made, file);
  } catch (error) {
    if (!existsSync(file)) throw error;
  } finally {
    unlinkSync(made);
  }
}

function syncPath(path: string): void {
  const handle = openSync(path, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function unusable(file: string, error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const known = 'code' in error && typeof error.code === 'string' && !('details' in error);
  return known ? fail('store.unusable', { file, reason: error.message }, { cause: error }) : error;
}

/** A column that the table declares to be text. */
export function text(row: Row, column: string): string {
  const value = row[column];
  assert(typeof value === 'string', `column ${column} is text`);
  return value;
}

export function textOrNull(row: Row, column: string): string | null {
  return row[column] == null ? null : text(row, column);
}

export function count(row: Row, column: string): number {
  const value = row[column];
  assert(typeof value === 'number', `column ${column} is a number`);
  return value;
}

export function countOrNull(row: Row, column: string): number | null {
  return row[column] == null ? null : count(row, column);
}

/**
 * Reading and writing `binding.json`. A write happens under `record.lock`, after its journal line is
 * durable (I18), by temporary file, fsync, rename, fsync of the directory: a crash leaves the old
 * record or the new one (I8). A journal line whose revision no record reached describes a change
 * that a crash prevented, or that was refused after it had been prepared.
 *
 * Between the two the same bytes go to a copy (`binding.copy.json`), likewise. A record that the
 * disk has damaged is restored from it: the copy is what the record was, or the change that was
 * under way after it, as if the crash had come a moment later.
 */
import { assert, fail, hasCode } from '../../core/errors.ts';
import { replicaText, type ReplicaName } from '../../core/ids.ts';
import type { BindingRecord } from '../../schemas/binding-record.ts';
import type { FileLayer } from '../file-layer.ts';
import { isErrno, makeDirectories, readWhole, writeDurably, writeSynced } from '../files.ts';
import { appendJournal, readJournal, verifyJournal } from './journal.ts';
import { lockPatiently } from './patient-lock.ts';
import { replicaDirectory, type ReplicaDirectory } from './replica-directory.ts';

/** A record is some kilobytes; beyond this it is not ours. */
const maxRecordBytes = 4 * 1024 * 1024;

/** What an audit line says besides the record's new counters. */
export interface AuditNote {
  readonly event: string;
  readonly by: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

export interface RecordChange {
  readonly next: Omit<BindingRecord, 'revision'>;
  readonly audit: AuditNote;
}

/** A change that waits for its moment: see {@link RecordStore.prepare}. */
export interface PreparedRecord {
  /** What {@link RecordStore.take} makes the record. */
  readonly record: BindingRecord;
  /** The file's bytes that it was made from. */
  readonly before: Buffer;
}

/** What is read under the lock, and how it may be changed there; see {@link RecordStore.locked}. */
export interface LockedRecord {
  readonly record: BindingRecord | null;
  readonly write: (change: RecordChange) => Promise<BindingRecord>;
  /**
   * Makes durable what was read, its copy too, for an answer without a write: whoever wrote it may
   * have been killed between the rename and the sync of the directory.
   */
  readonly confirm: () => Promise<void>;
}

export interface RecordStoreOptions {
  readonly files: FileLayer;
  readonly stateDir: string;
  readonly replica: ReplicaName;
  /** Wall clock for audit lines only; no decision rests on it. */
  readonly now: () => Date;
}

export class RecordStore {
  readonly files: FileLayer;
  readonly replica: ReplicaName;
  readonly directory: ReplicaDirectory;
  readonly #now: () => Date;

  constructor(options: RecordStoreOptions) {
    this.files = options.files;
    this.replica = options.replica;
    this.directory = replicaDirectory(options.stateDir, options.replica);
    this.#now = options.now;
  }

  now(): string {
    return this.#now().toISOString();
  }

  /**
   * The record as it is on disk, or null when the replica has none.
   * @throws `record.corrupt`
   */
  async read(): Promise<BindingRecord | null> {
    return this.#readAt(this.directory.record);
  }

  /**
   * Writes a record that cannot be read, or is gone, anew from its copy. Answers `sound`, and
   * changes nothing, where it can be read.
   * @throws `record.corrupt` when the copy is damaged, missing, or not of the journal's end;
   *   `data.corrupt` when the journal is damaged; `instance.locked`
   */
  async repair(by: string): Promise<'repaired' | 'sound'> {
    const lock = await this.#lock();
    try {
      const damage = await this.#damage();
      if (damage === null) return 'sound';
      const copy = await this.#readCopy();
      await this.#write(copy, { next: copy, audit: { event: 'repair', by, details: { damage } } });
      return 'repaired';
    } finally {
      await lock.release();
    }
  }

  /** What is wrong with the record; null for one that can be read, or that never was. */
  async #damage(): Promise<string | null> {
    try {
      if ((await this.read()) !== null) return null;
      return (await this.files.stat(this.directory.recordCopy)) === null ? null : 'it is gone';
    } catch (error) {
      if (!hasCode(error, 'record.corrupt')) throw error;
      return error.message;
    }
  }

  /** The copy, of the journal's last revision or, where a crash came between, of the one before. */
  async #readCopy(): Promise<BindingRecord> {
    const { journal, recordCopy } = this.directory;
    await verifyJournal(this.files, journal);
    const last = (await readJournal(this.files, journal)).at(-1)?.['revision'];
    const copy = await this.#readAt(recordCopy);
    if (copy === null) throw this.#corrupt(recordCopy, 'there is no copy');
    if (last !== copy.revision && last !== copy.revision + 1) {
      throw this.#corrupt(
        recordCopy,
        `it is of revision ${copy.revision}, the journal of ${String(last)}`,
      );
    }
    return copy;
  }

  #corrupt(path: string, reason: string, cause?: unknown) {
    return fail('record.corrupt', { replica: replicaText(this.replica), path, reason }, { cause });
  }

  async #readAt(path: string): Promise<BindingRecord | null> {
    const bytes = await this.#bytes(path);
    return bytes === null ? null : this.#parse(path, bytes);
  }

  #bytes(path: string): Promise<Buffer | null> {
    return readWhole(this.files, path, maxRecordBytes);
  }

  async #parse(path: string, bytes: Buffer): Promise<BindingRecord> {
    // zod takes a tenth of a second to load: an offline command mostly finds no record.
    const { bindingRecordSchema } = await import('../../schemas/binding-record.ts');
    const parsed = bindingRecordSchema.safeParse(this.#parseJson(path, bytes));
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    const reason = `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'it does not fit'}`;
    throw this.#corrupt(path, reason);
  }

  #parseJson(path: string, bytes: Buffer): unknown {
    try {
      return JSON.parse(bytes.toString('utf8'));
    } catch (cause) {
      throw this.#corrupt(path, 'it is no JSON', cause);
    }
  }

  /**
   * Runs `section` with the record read under `record.lock`; at most one section runs at a time, on
   * the whole machine.
   * @throws `instance.locked` when the lock stays held, naming its holder
   */
  async locked<T>(section: (locked: LockedRecord) => Promise<T>): Promise<T> {
    const lock = await this.#lock();
    try {
      const record = await this.read();
      return await section({
        record,
        write: (change) => this.#write(record, change),
        confirm: () => this.#confirm(),
      });
    } finally {
      await lock.release();
    }
  }

  /**
   * Does everything of a change but the change: its audit line is durable when it resolves, and the
   * record's next bytes lie beside it, so that {@link take} is short. Nothing is held until then.
   * One at a time for each replica, by whoever holds its lock.
   * @throws `instance.locked`, what `change` throws
   */
  async prepare(change: (record: BindingRecord | null) => RecordChange): Promise<PreparedRecord> {
    const lock = await this.#lock();
    try {
      const before = await this.#bytes(this.directory.record);
      const present = before === null ? null : await this.#parse(this.directory.record, before);
      const { next, audit } = change(present);
      const record = following(present, next);
      const bytes = encode(record);
      await this.#journal(record, audit);
      for (const path of this.#both()) await writeSynced(this.files, prepared(path), bytes);
      return { record, before: before ?? Buffer.alloc(0) };
    } finally {
      await lock.release();
    }
  }

  /**
   * Makes what was prepared the record, durably: two renames and a sync.
   * @returns false, with nothing changed, when the record is not what it was made from any more
   */
  async take({ before }: PreparedRecord): Promise<boolean> {
    const lock = await this.#lockMade();
    try {
      const present = await this.#bytes(this.directory.record);
      if (!before.equals(present ?? Buffer.alloc(0))) return false;
      // Whichever a crash keeps: see #confirm.
      const renames = this.#both().map((path) => this.files.rename(prepared(path), path));
      // Both have ended before the lock is let go of, also when one fails.
      await Promise.allSettled(renames);
      await Promise.all(renames);
      await this.files.syncDirectory(this.directory.root);
      return true;
    } finally {
      await lock.release();
    }
  }

  /** In the order in which they change. */
  #both(): readonly [string, string] {
    return [this.directory.recordCopy, this.directory.record];
  }

  /** Of two renames before one sync a crash may keep the record's alone: then the copy is older. */
  async #confirm(): Promise<void> {
    const { record, recordCopy, root } = this.directory;
    const [bytes, copied] = [await this.#bytes(record), await this.#bytes(recordCopy)];
    await this.files.syncDirectory(root);
    if (bytes !== null && copied?.equals(bytes) !== true) {
      await writeDurably(this.files, recordCopy, bytes);
    }
  }

  async #lock() {
    await this.#makeLockFile(this.directory.recordLock);
    return this.#lockMade();
  }

  #lockMade() {
    const path = this.directory.recordLock;
    const instance = replicaText(this.replica);
    return lockPatiently(this.files, { path, action: 'change the binding record of', instance });
  }

  async #makeLockFile(path: string): Promise<void> {
    if ((await this.files.stat(path)) !== null) return;
    await makeDirectories(this.files, this.directory.root);
    await makeDirectories(this.files, this.directory.proofs);
    try {
      await (await this.files.open(path, 'create-exclusive')).close();
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
    }
  }

  async #write(before: BindingRecord | null, change: RecordChange): Promise<BindingRecord> {
    const record = following(before, change.next);
    await this.#journal(record, change.audit);
    const bytes = encode(record);
    for (const path of this.#both()) await writeDurably(this.files, path, bytes);
    return record;
  }

  /** Durable before the change that it describes (I18). */
  #journal(record: BindingRecord, audit: AuditNote): Promise<void> {
    return appendJournal(this.files, this.directory.journal, {
      at: this.now(),
      event: audit.event,
      by: audit.by,
      revision: record.revision,
      generation: record.generation,
      token: record.token,
      migration: record.migration?.id ?? record.lastEnded?.id ?? null,
      phase: record.migration?.phase ?? null,
      primary: record.primary,
      ...audit.details,
    });
  }
}

function following(before: BindingRecord | null, next: RecordChange['next']): BindingRecord {
  assert(next.generation >= (before?.generation ?? 0), 'a generation never falls');
  assert(next.lease >= (before?.lease ?? 0), 'a lease never falls');
  return { ...next, revision: (before?.revision ?? 0) + 1 };
}

function encode(record: BindingRecord): Buffer {
  return Buffer.from(`${JSON.stringify(record, null, 2)}\n`);
}

/** No `.tmp`: whoever else writes the record meanwhile uses that name. */
function prepared(path: string): string {
  return `${path}.next`;
}

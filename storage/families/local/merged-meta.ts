/**
 * `local-merged://`: term and vote of many groups in one LevelDB, under `<group>_<idx>`, as
 * StablePBMeta without a length. Only our own key is ever written. LevelDB has no read-only mode: a
 * reader copies the database to scratch and opens the copy. LevelDB's files bypass the file layer.
 */
import { mkdtemp, open as openFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { ClassicLevel } from 'classic-level';

import { fail } from '../../../core/errors.ts';
import type { FileLayer } from '../../file-layer.ts';
import { isErrno } from '../../files.ts';

type Database = ClassicLevel<Buffer, Buffer>;

const copyBytes = 1024 * 1024;

/** LevelDB's lock and its text log say nothing about the data. */
const notCopied = new Set(['LOCK', 'LOG', 'LOG.old']);

/** Another group's process may change the database while it is copied: so often is it copied. */
const copyAttempts = 4;

/**
 * The group's value as of the files in `directory`; null when there is none. Changes nothing there.
 * @throws `data.corrupt`
 */
export async function readMergedMeta(
  files: FileLayer,
  directory: string,
  groupId: string,
): Promise<Buffer | null> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await readCopy(files, directory, groupId);
    } catch (cause) {
      const failure = openFailure(directory, cause);
      const mayPass = failure !== cause || isErrno(cause, 'ENOENT');
      if (!mayPass || attempt === copyAttempts) throw failure;
    }
  }
}

async function readCopy(
  files: FileLayer,
  directory: string,
  groupId: string,
): Promise<Buffer | null> {
  const stat = await files.stat(directory);
  if (stat?.kind !== 'directory') return null;
  const names = (await files.list(directory)).filter((name) => !notCopied.has(name));
  if (!names.includes('CURRENT')) return null;
  const scratch = await mkdtemp(join(tmpdir(), 'quorumshift-leveldb-'));
  try {
    for (const name of names) await copyOut(files, join(directory, name), join(scratch, name));
    const database = await openDatabase(scratch);
    try {
      return await getValue(database, groupId);
    } finally {
      await database.close();
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function copyOut(files: FileLayer, from: string, to: string): Promise<void> {
  const source = await files.open(from, 'read');
  const target = await openFile(to, 'w');
  try {
    const buffer = Buffer.allocUnsafe(copyBytes);
    for (let at = 0; ;) {
      const got = await source.read(buffer, 0, buffer.length, at);
      if (got === 0) return;
      await target.write(buffer, 0, got, at);
      at += got;
    }
  } finally {
    await target.close();
    await source.close();
  }
}

async function openDatabase(directory: string): Promise<Database> {
  const { ClassicLevel: Level } = await import('classic-level');
  const database: Database = new Level(directory, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
  });
  await database.open();
  return database;
}

async function getValue(database: Database, groupId: string): Promise<Buffer | null> {
  return (await database.get(Buffer.from(groupId))) ?? null;
}

/** LevelDB lets a process open a database once; several groups of one process share it. */
const openDatabases = new Map<string, { database: Promise<Database>; holders: number }>();

/** One group's value in a LevelDB that is open for writing; other groups' keys stay untouched. */
export class MergedMeta {
  readonly #directory: string;
  readonly #database: Database;
  readonly #groupId: string;

  private constructor(directory: string, database: Database, groupId: string) {
    this.#directory = directory;
    this.#database = database;
    this.#groupId = groupId;
  }

  /** @throws `instance.locked` while another process has the database open */
  static async open(directory: string, groupId: string): Promise<MergedMeta> {
    const known = openDatabases.get(directory);
    const entry = known ?? { database: openDatabase(directory), holders: 0 };
    entry.holders += 1;
    openDatabases.set(directory, entry);
    try {
      return new MergedMeta(directory, await entry.database, groupId);
    } catch (cause) {
      letGo(directory);
      throw openFailure(directory, cause);
    }
  }

  async get(): Promise<Buffer | null> {
    return getValue(this.#database, this.#groupId);
  }

  /** Durable when resolved. */
  async put(value: Buffer): Promise<void> {
    await this.#database.put(Buffer.from(this.#groupId), value, { sync: true });
  }

  /** Durable when resolved; nothing there is as good. */
  async remove(): Promise<void> {
    await this.#database.del(Buffer.from(this.#groupId), { sync: true });
  }

  async close(): Promise<void> {
    if (letGo(this.#directory)) await this.#database.close();
  }
}

/** Whether nobody holds the database any more. */
function letGo(directory: string): boolean {
  const entry = openDatabases.get(directory);
  if (entry === undefined) return false;
  entry.holders -= 1;
  if (entry.holders > 0) return false;
  openDatabases.delete(directory);
  return true;
}

/** What LevelDB said of the database; other errors as they are. */
function openFailure(directory: string, cause: unknown): unknown {
  const inner = cause instanceof Error ? (cause.cause ?? cause) : undefined;
  const code = inner instanceof Error && 'code' in inner ? inner.code : undefined;
  if (code === 'LEVEL_LOCKED') {
    const holder = 'another process that has this LevelDB open';
    return fail('instance.locked', { action: 'open', instance: directory, holder }, { cause });
  }
  if (!(inner instanceof Error) || !String(code).startsWith('LEVEL_')) return cause;
  return fail('data.corrupt', { file: directory, offset: 0, reason: inner.message }, { cause });
}

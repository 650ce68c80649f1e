/**
 * Snapshots of the engine families: files on disk, named by the database.
 *
 *     <instance>/snapshots/<id>/tree/<path of the file>
 *     <instance>/snapshots/<id>/prepared.json            its record, of one with a tag
 *
 * The database's record of the published snapshot holds its id, metadata, and each file's path,
 * size and CRC-32. Preparing makes a new tree durable under an id of its own; publishing is the
 * change of the record, in the transaction of the whole mutation. A tree that the record does not
 * name was never published or is replaced: it is removed after the commit, when its last reader
 * closes, or at the next opening for writing (LOG-7), except that one prepared with a tag is found
 * then (DUAL-7).
 */
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';

import { assert, fail, hasCode } from '../core/errors.ts';
import type {
  FoundSnapshot,
  PreparedSnapshot,
  SnapshotFile,
  SnapshotMeta,
  SnapshotReader,
  SnapshotWriter,
} from './contracts.ts';
import type { FileLayer } from './file-layer.ts';
import { encodePreparedTree } from './engines/engine-records.ts';
import { isErrno, makeDirectories, readWhole, removeTree, writeDurably } from './files.ts';
import { byPathBytes, SnapshotPaths } from './snapshot-path.ts';

/** Readers give pieces of at most this many bytes, as the contract says. */
const pieceBytes = 1024 * 1024;
const preparedName = 'prepared.json';
/** A snapshot of a million files has a record of some 200 MB. */
const maxPreparedBytes = 512 * 1024 * 1024;

export interface StoredSnapshotFile extends SnapshotFile {
  readonly crc32: number;
}

export interface SnapshotRecord {
  readonly id: number;
  readonly meta: SnapshotMeta;
  readonly files: readonly StoredSnapshotFile[];
}

export interface SnapshotTreesOptions {
  readonly files: FileLayer;
  /** The `snapshots` directory. */
  readonly directory: string;
  /** For messages. */
  readonly instance: string;
}

class PreparedTree implements FoundSnapshot {
  readonly record: SnapshotRecord;
  /** Empty: of this opening alone. */
  readonly tag: string;
  readonly #remove: () => Promise<void>;

  constructor(record: SnapshotRecord, how: { tag: string; remove: () => Promise<void> }) {
    this.record = record;
    this.tag = how.tag;
    this.#remove = how.remove;
  }

  get meta(): SnapshotMeta {
    return this.record.meta;
  }

  get files(): readonly SnapshotFile[] {
    return this.record.files;
  }

  abort(): Promise<void> {
    return this.#remove();
  }
}

/** The record to publish for what {@link SnapshotTrees.begin}'s writer has prepared. */
export function preparedRecord(prepared: PreparedSnapshot): SnapshotRecord {
  assert(prepared instanceof PreparedTree, 'a snapshot is published where it was prepared');
  return prepared.record;
}

export class SnapshotTrees {
  readonly #options: SnapshotTreesOptions;
  readonly #readers = new Map<number, number>();
  readonly #retired = new Set<number>();
  #found: readonly PreparedTree[] = [];
  #nextId = 1;

  constructor(options: SnapshotTreesOptions) {
    this.#options = options;
  }

  /** Makes ready for writing: removes every tree but the `published` one and those with tags. */
  async recover(published: SnapshotRecord | null): Promise<void> {
    const { files, directory } = this.#options;
    await makeDirectories(files, directory);
    const keep = published === null ? null : String(published.id);
    const found: PreparedTree[] = [];
    for (const name of await files.list(directory)) {
      if (name === keep) continue;
      const prepared = await this.#readPrepared(name);
      if (prepared === null) await removeTree(files, join(directory, name));
      else found.push(prepared);
    }
    await files.syncDirectory(directory);
    this.#found = found;
    this.#nextId = Math.max(published?.id ?? 0, ...found.map(({ record }) => record.id)) + 1;
  }

  /** What {@link recover} has kept besides the published one. */
  found(): readonly FoundSnapshot[] {
    return this.#found;
  }

  /** Null for a tree without a tag, and for one that was being removed. */
  async #readPrepared(name: string): Promise<PreparedTree | null> {
    const { files, directory } = this.#options;
    const path = join(directory, name, preparedName);
    const bytes = await readWhole(files, path, maxPreparedBytes);
    if (bytes === null) return null;
    const { decodePreparedTree } = await import('./engines/decode-records.ts');
    try {
      const { tag, record } = decodePreparedTree(path, bytes);
      const { id } = record;
      return new PreparedTree(record, { tag, remove: () => this.#remove(id) });
    } catch (error) {
      if (!hasCode(error, 'data.corrupt')) throw error;
      return null;
    }
  }

  async begin(meta: SnapshotMeta): Promise<SnapshotWriter> {
    const { files, directory } = this.#options;
    const id = this.#nextId;
    this.#nextId += 1;
    await files.makeDirectory(join(directory, String(id)));
    await files.makeDirectory(this.#tree(id));
    const remove = () => this.#remove(id);
    return new TreeWriter({ files, tree: this.#tree(id), id, meta, remove });
  }

  open(record: SnapshotRecord): SnapshotReader {
    const { id, meta, files } = record;
    this.#readers.set(id, (this.#readers.get(id) ?? 0) + 1);
    let open = true;
    return {
      meta,
      files,
      treePath: this.#tree(id),
      read: (path) => this.#read(record, path),
      close: async () => {
        if (open) await this.#release(id);
        open = false;
      },
    };
  }

  /** After the commit that replaced it: removes the tree, once nobody reads it. */
  async retire(id: number): Promise<void> {
    if (this.#readers.has(id)) this.#retired.add(id);
    else await this.#remove(id);
  }

  async #release(id: number): Promise<void> {
    const left = (this.#readers.get(id) ?? 1) - 1;
    if (left > 0) {
      this.#readers.set(id, left);
      return;
    }
    this.#readers.delete(id);
    if (this.#retired.delete(id)) await this.#remove(id);
  }

  #remove(id: number): Promise<void> {
    return removeTree(this.#options.files, join(this.#options.directory, String(id)));
  }

  #tree(id: number): string {
    return join(this.#options.directory, String(id), 'tree');
  }

  async *#read(record: SnapshotRecord, path: string): AsyncGenerator<Buffer> {
    const { files, instance } = this.#options;
    const listed = record.files.find((file) => file.path === path);
    if (listed === undefined) throw fail('snapshot.file-missing', { instance, path });
    const full = join(this.#tree(record.id), path);
    const file = await files.open(full, 'read').catch((error: unknown) => {
      if (isErrno(error, 'ENOENT')) throw fail('snapshot.file-missing', { instance, path });
      throw error;
    });
    try {
      let checksum = 0;
      for (let at = 0; at < listed.bytes;) {
        const piece = Buffer.allocUnsafe(Math.min(pieceBytes, listed.bytes - at));
        const got = await file.read(piece, 0, piece.length, at);
        if (got === 0) throw damaged(full, { offset: at, reason: 'it is shorter than listed' });
        const bytes = piece.subarray(0, got);
        checksum = crc32(bytes, checksum);
        at += got;
        // The last piece counts only with the whole file's checksum.
        if (at === listed.bytes && checksum !== listed.crc32) {
          throw damaged(full, { offset: 0, reason: 'its checksum is not the listed one' });
        }
        yield bytes;
      }
    } finally {
      await file.close();
    }
  }
}

function damaged(file: string, where: { offset: number; reason: string }): Error {
  return fail('data.corrupt', { file, ...where });
}

interface TreeWriterOptions {
  readonly files: FileLayer;
  readonly tree: string;
  readonly id: number;
  readonly meta: SnapshotMeta;
  readonly remove: () => Promise<void>;
}

class TreeWriter implements SnapshotWriter {
  readonly #options: TreeWriterOptions;
  readonly #paths = new SnapshotPaths();
  readonly #made = new Set<string>();
  readonly #written: StoredSnapshotFile[] = [];

  constructor(options: TreeWriterOptions) {
    this.#options = options;
  }

  async file(
    file: { readonly path: string; readonly userMeta: Uint8Array | null },
    bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void> {
    this.#paths.add(file.path);
    const { files, tree } = this.#options;
    for (const directory of this.#paths.directories) {
      if (this.#made.has(directory)) continue;
      await files.makeDirectory(join(tree, directory));
      this.#made.add(directory);
    }
    const handle = await files.open(join(tree, file.path), 'create-exclusive');
    try {
      let size = 0;
      let checksum = 0;
      for await (const piece of bytes) {
        await handle.write(piece, size);
        size += piece.length;
        checksum = crc32(piece, checksum);
      }
      await handle.sync();
      const { path, userMeta } = file;
      this.#written.push({ path, bytes: size, crc32: checksum, userMeta });
    } finally {
      await handle.close();
    }
  }

  async prepare(tag = ''): Promise<PreparedSnapshot> {
    const { files, tree, id, meta, remove } = this.#options;
    const record = { id, meta, files: this.#written.toSorted(byPathBytes) };
    for (const directory of [...this.#made].toReversed()) {
      await files.syncDirectory(join(tree, directory));
    }
    await files.syncDirectory(tree);
    const own = dirname(tree);
    // Last, and with the sync of this directory: what it names is durable.
    if (tag === '') await files.syncDirectory(own);
    else await writeDurably(files, join(own, preparedName), encodePreparedTree(tag, record));
    await files.syncDirectory(dirname(own));
    return new PreparedTree(record, { tag, remove });
  }

  abort(): Promise<void> {
    return this.#options.remove();
  }
}

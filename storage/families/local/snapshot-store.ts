/**
 * Snapshots as directories. A new one is written in `temp`, all of it synced, and published by one
 * rename; one of an equal index by one exchange of names. The one that it replaces is removed when
 * its last reader has closed it.
 */
import { basename, join } from 'node:path';

import { assert, fail, type QuorumshiftError } from '../../../core/errors.ts';
import type {
  FoundSnapshot,
  PreparedSnapshot,
  SnapshotFile,
  SnapshotMeta,
  SnapshotReader,
  SnapshotStorage,
  SnapshotWriter,
} from '../../contracts.ts';
import type { FileLayer } from '../../file-layer.ts';
import { removeTree } from '../../files.ts';
import {
  findPrepared,
  findSnapshots,
  measureFiles,
  retiredPrefix,
  snapshotIndex,
  snapshotName,
  temporaryName,
  type StoredSnapshot,
  type TaggedSnapshot,
} from './snapshot-place.ts';
import { LocalSnapshotWriter } from './snapshot-writer.ts';
import { syncTree } from './sync-tree.ts';

/** Readers give pieces of at most this many bytes, as the contract says. */
const pieceBytes = 1024 * 1024;

/** A published tree with its readers; its place may change while it is read. */
interface Tree {
  stored: StoredSnapshot;
  readers: number;
  /** Replaced: goes with its last reader. */
  replaced: boolean;
}

class PreparedLocally implements PreparedSnapshot {
  readonly meta: SnapshotMeta;
  readonly stored: StoredSnapshot;
  readonly #store: SnapshotStore;

  constructor(store: SnapshotStore, stored: StoredSnapshot) {
    this.#store = store;
    this.stored = stored;
    this.meta = stored.meta;
  }

  async abort(): Promise<void> {
    await this.#store.discard(this.stored);
  }
}

class FoundLocally extends PreparedLocally implements FoundSnapshot {
  readonly tag: string;
  readonly files: readonly SnapshotFile[];

  constructor(store: SnapshotStore, stored: TaggedSnapshot) {
    super(store, stored);
    this.tag = stored.tag;
    this.files = stored.measured;
  }
}

export class SnapshotStore implements SnapshotStorage {
  readonly #files: FileLayer;
  readonly #directory: string;
  #tree: Tree | null;
  /** The tree in `temp`: a writer's, or one that is prepared. */
  #draft: object | null = null;
  #found: readonly FoundSnapshot[] = [];
  #retired = 0;
  /** Counts when names begin to change; who looks at one meanwhile looks again. */
  #moves = 0;
  #moving: Promise<void> = Promise.resolve();

  constructor(options: { files: FileLayer; directory: string; current: StoredSnapshot | null }) {
    this.#files = options.files;
    this.#directory = options.directory;
    this.#tree = treeOf(options.current);
  }

  /** Opens for writing: what a crash left half written or half removed goes, not what is tagged. */
  static async repaired(files: FileLayer, directory: string): Promise<SnapshotStore> {
    const { current, names } = await findSnapshots(files, directory);
    const store = new SnapshotStore({ files, directory, current });
    const stale = current === null ? [] : names.filter((name) => isOlder(name, current));
    const prepared = await findPrepared(files, directory);
    if (prepared === null) stale.push(temporaryName);
    else store.#keep(prepared);
    for (const name of await files.list(directory)) {
      if (name.startsWith(retiredPrefix) || stale.includes(name)) {
        await removeTree(files, join(directory, name));
      }
    }
    await files.syncDirectory(directory);
    if (current !== null) await syncTree(files, current.path);
    return store;
  }

  #keep(prepared: TaggedSnapshot): void {
    this.#draft = prepared;
    this.#found = [new FoundLocally(this, prepared)];
  }

  async found(): Promise<readonly FoundSnapshot[]> {
    return this.#found;
  }

  get currentMeta(): SnapshotMeta | null {
    return this.#tree?.stored.meta ?? null;
  }

  async latest(): Promise<SnapshotReader | null> {
    const tree = this.#tree;
    if (tree === null) return null;
    tree.readers += 1;
    try {
      return this.#reader(tree, await this.#steady(() => measureFiles(this.#files, tree.stored)));
    } catch (error) {
      await this.#leave(tree);
      throw error;
    }
  }

  #reader(tree: Tree, measured: readonly SnapshotFile[]): SnapshotReader {
    let open = true;
    return {
      meta: tree.stored.meta,
      files: measured,
      get treePath() {
        return tree.stored.path;
      },
      read: (path) => this.#readFile(tree, path),
      close: async () => {
        if (!open) return;
        open = false;
        await this.#leave(tree);
      },
    };
  }

  async *#readFile(tree: Tree, path: string): AsyncGenerator<Buffer> {
    const instance = tree.stored.path;
    if (!tree.stored.files.some((file) => file.path === path)) {
      throw fail('snapshot.file-missing', { instance, path });
    }
    const file = await this.#steady(
      () => this.#files.open(join(tree.stored.path, path), 'read'),
      (opened) => opened.close(),
    );
    try {
      for (let at = 0; ;) {
        const piece = Buffer.allocUnsafeSlow(pieceBytes);
        const got = await file.read(piece, 0, piece.length, at);
        if (got === 0) return;
        at += got;
        yield piece.subarray(0, got);
      }
    } finally {
      await file.close();
    }
  }

  /**
   * Looks at a tree by its path while it does not move: what a name leads to while names are
   * exchanged may be another snapshot's.
   */
  async #steady<Result>(
    look: () => Promise<Result>,
    letGo: (result: Result) => Promise<void> = async () => {},
  ): Promise<Result> {
    for (;;) {
      await this.#moving;
      const moves = this.#moves;
      try {
        const result = await look();
        if (moves === this.#moves) return result;
        await letGo(result);
      } catch (error) {
        if (moves === this.#moves) throw error;
      }
    }
  }

  /** Changes names, and where trees say that they lie, as one step for who looks. */
  async #move(work: () => Promise<void>): Promise<void> {
    this.#moves += 1;
    const moved = work();
    this.#moving = moved.catch(() => {});
    await moved;
  }

  async #leave(tree: Tree): Promise<void> {
    tree.readers -= 1;
    if (tree.readers === 0 && tree.replaced) await this.#remove(tree.stored.path);
  }

  async begin(meta: SnapshotMeta): Promise<SnapshotWriter> {
    if (meta.lastIncludedIndex < 1n) {
      const actual = meta.lastIncludedIndex.toString();
      const what = "a snapshot's last included index";
      throw fail('limit.exceeded', { family: 'local', what, limit: 'at least 1', actual });
    }
    const path = join(this.#directory, temporaryName);
    await removeTree(this.#files, path);
    await this.#files.makeDirectory(path);
    const draft = {};
    this.#draft = draft;
    const writer = new LocalSnapshotWriter({
      files: this.#files,
      path,
      meta,
      isCurrent: () => this.#draft === draft,
    });
    return {
      file: (file, bytes) => writer.file(file, bytes),
      prepare: async (tag) => {
        const stored = await writer.prepare(tag ?? null);
        this.#draft = stored;
        return new PreparedLocally(this, stored);
      },
      abort: () => this.discard(draft),
    };
  }

  /** Removes what `temp` holds, if it is still this draft's. */
  async discard(draft: object): Promise<void> {
    if (this.#draft !== draft) return;
    this.#draft = null;
    await this.#remove(join(this.#directory, temporaryName));
  }

  async #remove(path: string): Promise<void> {
    await removeTree(this.#files, path);
    await this.#files.syncDirectory(this.#directory);
  }

  /** Makes a prepared snapshot the current one; durable when resolved. */
  async publish(prepared: PreparedSnapshot): Promise<void> {
    assert(
      prepared instanceof PreparedLocally && prepared.stored === this.#draft,
      'a snapshot is published once, where it was prepared',
    );
    const { stored } = prepared;
    const from = stored.path;
    const path = join(this.#directory, snapshotName(stored.meta.lastIncludedIndex));
    const replaced = this.#tree;
    await this.#move(async () => {
      if ((await this.#files.stat(path)) === null) await this.#files.rename(from, path);
      else await this.#files.exchange(from, path);
      if (replaced?.stored.path === path) replaced.stored = { ...replaced.stored, path: from };
    });
    await this.#files.syncDirectory(this.#directory);
    this.#draft = null;
    this.#tree = treeOf({ ...stored, path });
    if (replaced !== null) await this.#retire(replaced);
    await this.#remove(from);
  }

  /** In staging: the only snapshot, also when another one has a higher index. */
  async publishAlone(prepared: PreparedSnapshot): Promise<void> {
    for (const name of await this.#files.list(this.#directory)) {
      if (snapshotIndex(name) !== null) await removeTree(this.#files, join(this.#directory, name));
    }
    await this.#files.syncDirectory(this.#directory);
    this.#tree = null;
    await this.publish(prepared);
  }

  async #retire(tree: Tree): Promise<void> {
    tree.replaced = true;
    if (tree.readers === 0) return this.#remove(tree.stored.path);
    if (tree.stored.path !== join(this.#directory, temporaryName)) return;
    // The name `temp` is needed for the next one; the reader follows.
    const path = await this.#freeName();
    await this.#move(async () => {
      await this.#files.rename(tree.stored.path, path);
      tree.stored = { ...tree.stored, path };
    });
  }

  async #freeName(): Promise<string> {
    for (; ; this.#retired += 1) {
      const path = join(this.#directory, `${retiredPrefix}${this.#retired}`);
      if ((await this.#files.stat(path)) === null) return path;
    }
  }
}

/** braft removes those of lower indexes, and no copy of one under a name with a suffix. */
function isOlder(name: string, { path }: StoredSnapshot): boolean {
  const index = snapshotIndex(name);
  return index !== null && name === snapshotName(index) && name !== basename(path);
}

function treeOf(stored: StoredSnapshot | null): Tree | null {
  return stored && { stored, readers: 0, replaced: false };
}

/** Storage of a replica that keeps no snapshots. */
export const noSnapshots: SnapshotStorage = {
  latest: async () => null,
  found: async () => [],
  begin: async () => {
    const actual = 'its snapshot URI is empty';
    throw fail('limit.exceeded', { family: 'local', what: 'a snapshot', limit: 'absent', actual });
  },
};

/** A snapshot that is there and cannot be loaded: whoever asks for it is told why. */
export function unreadableSnapshot(fault: QuorumshiftError): SnapshotStorage {
  return {
    latest: () => Promise.reject(fault),
    begin: () => Promise.reject(fault),
    found: () => Promise.reject(fault),
  };
}

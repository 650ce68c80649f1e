/**
 * Snapshots of the memory family: trees as maps of bytes; a reader keeps the map that it opened.
 */
import { assert, fail } from '../../../core/errors.ts';
import type {
  FoundSnapshot,
  PreparedSnapshot,
  SnapshotFile,
  SnapshotMeta,
  SnapshotReader,
  SnapshotWriter,
} from '../../contracts.ts';
import { byPathBytes, SnapshotPaths } from '../../snapshot-path.ts';

/** Readers give pieces of at most this many bytes, as the contract says. */
const pieceBytes = 1024 * 1024;

export interface MemorySnapshot {
  readonly meta: SnapshotMeta;
  readonly files: readonly SnapshotFile[];
  readonly content: ReadonlyMap<string, Buffer>;
}

/** Those of an instance that are prepared under a tag. */
export type TaggedSnapshots = Map<string, MemorySnapshot>;

class PreparedInMemory implements FoundSnapshot {
  readonly snapshot: MemorySnapshot;
  /** Empty: of this object alone. */
  readonly tag: string;
  readonly #tagged: TaggedSnapshots;

  constructor(snapshot: MemorySnapshot, tag: string, tagged: TaggedSnapshots) {
    this.snapshot = snapshot;
    this.tag = tag;
    this.#tagged = tagged;
    if (tag !== '') tagged.set(tag, snapshot);
  }

  get meta(): SnapshotMeta {
    return this.snapshot.meta;
  }

  get files(): readonly SnapshotFile[] {
    return this.snapshot.files;
  }

  async abort(): Promise<void> {
    this.#tagged.delete(this.tag);
  }
}

/** What a prepared snapshot of this family holds; it is published, and no longer prepared. */
export function preparedContent(prepared: PreparedSnapshot): MemorySnapshot {
  assert(prepared instanceof PreparedInMemory, 'a snapshot is published where it was prepared');
  void prepared.abort();
  return prepared.snapshot;
}

export function foundInMemory(tagged: TaggedSnapshots): FoundSnapshot[] {
  return [...tagged].map(([tag, snapshot]) => new PreparedInMemory(snapshot, tag, tagged));
}

export class MemorySnapshotWriter implements SnapshotWriter {
  readonly #meta: SnapshotMeta;
  readonly #paths = new SnapshotPaths();
  readonly #files: SnapshotFile[] = [];
  readonly #content = new Map<string, Buffer>();
  readonly #tagged: TaggedSnapshots;

  constructor(meta: SnapshotMeta, tagged: TaggedSnapshots = new Map()) {
    this.#meta = meta;
    this.#tagged = tagged;
  }

  async file(
    file: { readonly path: string; readonly userMeta: Uint8Array | null },
    bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void> {
    this.#paths.add(file.path);
    const pieces: Uint8Array[] = [];
    for await (const piece of bytes) pieces.push(Uint8Array.from(piece));
    const content = Buffer.concat(pieces);
    this.#content.set(file.path, content);
    this.#files.push({ path: file.path, userMeta: file.userMeta, bytes: content.length });
  }

  async prepare(tag = ''): Promise<PreparedSnapshot> {
    const files = this.#files.toSorted(byPathBytes);
    const snapshot = { meta: this.#meta, files, content: this.#content };
    return new PreparedInMemory(snapshot, tag, this.#tagged);
  }

  async abort(): Promise<void> {
    this.#content.clear();
  }
}

export function readMemorySnapshot(snapshot: MemorySnapshot, instance: string): SnapshotReader {
  return {
    meta: snapshot.meta,
    files: snapshot.files,
    treePath: null,
    read: (path) => piecesOf(snapshot, { instance, path }),
    close: async () => {},
  };
}

async function* piecesOf(
  snapshot: MemorySnapshot,
  { instance, path }: { instance: string; path: string },
): AsyncGenerator<Buffer> {
  const content = snapshot.content.get(path);
  if (content === undefined) throw fail('snapshot.file-missing', { instance, path });
  for (let at = 0; at < content.length; at += pieceBytes) {
    yield content.subarray(at, at + pieceBytes);
  }
}

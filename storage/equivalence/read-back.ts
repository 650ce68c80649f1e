/**
 * What of two instances was read back from both and found equal: whole leaves of the log's digest,
 * and files of the snapshot. While nothing has changed it, a later comparison of the same two takes
 * it as it is, and reads the rest (EQ-3, EQ-5). A comparison that is cut off has added what it had
 * read by then. Metadata is never among it.
 */
import type { SnapshotFile } from '../contracts.ts';
import type { DigestedFile } from '../image/digest-tree.ts';
import { LeafRun } from '../image/leaf-run.ts';

/** A leaf's hash and its first index. */
export interface MadeLeaf {
  readonly firstIndex: bigint;
  readonly hash: Buffer;
}

/** What has become of both instances since they were read back. */
export interface ChangesSince {
  /** Where the log begins now. */
  readonly firstIndex: bigint;
  /** Nothing below was rewritten; null: nothing at all. */
  readonly lowestIndex: bigint | null;
  readonly snapshotReplaced: boolean;
}

export class ReadBack {
  readonly leaves: LeafRun;
  readonly #files: Map<string, DigestedFile>;

  constructor(leaves = new LeafRun(), files: ReadonlyMap<string, DigestedFile> = new Map()) {
    this.leaves = leaves;
    this.#files = new Map(files);
  }

  get isEmpty(): boolean {
    return this.leaves.firstIndex === this.leaves.nextIndex && this.#files.size === 0;
  }

  /** The file as both sides were found to hold it; null where it must be read. */
  readonly knownFile = ({ path, bytes, userMeta }: SnapshotFile): DigestedFile | null => {
    const found = this.#files.get(path);
    if (found === undefined || found.bytes !== bytes) return null;
    return Buffer.compare(found.userMeta ?? empty, userMeta ?? empty) === 0 ? found : null;
  };

  /** Of both sides, which hold the same in them. */
  addLeaves(made: readonly MadeLeaf[]): void {
    for (const { firstIndex, hash } of made) this.leaves.add(firstIndex, hash);
  }

  /** Those files of the two sides that are the same. */
  addFiles(a: readonly DigestedFile[], b: readonly DigestedFile[]): void {
    const others = new Map(b.map((file) => [file.path, file]));
    for (const file of a) {
      if (others.get(file.path)?.hash.equals(file.hash)) this.#files.set(file.path, file);
    }
  }

  /** What of it still holds of both. */
  unchanged({ firstIndex, lowestIndex, snapshotReplaced }: ChangesSince): ReadBack {
    const { leaves } = this;
    const kept = leaves.within(firstIndex, lowestIndex ?? leaves.nextIndex);
    return new ReadBack(kept, snapshotReplaced ? new Map() : this.#files);
  }
}

const empty = Buffer.alloc(0);

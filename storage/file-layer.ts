/**
 * The one way to the file system for `local`, staging, images, records and journals.
 *
 * `node-file-layer.ts` is the real one; `testing/crash-file-layer.ts` its fault-injecting twin,
 * which loses at a crash whatever was not synced: a file's bytes need `FileHandle.sync`, a name
 * needs `syncDirectory` of its parent. Failures reject with Node's errors (`code` ENOENT, EIO,
 * ENOSPC, …).
 */

export type FileOpenMode =
  /** Must exist. */
  | 'read'
  /** Must exist; reading and writing in place. */
  | 'read-write'
  /** Made if absent, emptied if present; reading and writing. */
  | 'create'
  /** Must not exist (EEXIST); reading and writing. */
  | 'create-exclusive';

/** Positions, lengths and memory of direct writes are multiples of it. */
export const directAlignment = 4096;

export interface OpenHow {
  /**
   * Writes go past the page cache (O_DIRECT) where the file system can, and must be whole blocks
   * of {@link directAlignment} from aligned memory: `streamed-file.ts` makes them so.
   */
  readonly direct?: boolean;
  /**
   * Each write makes its bytes durable, and the size that it needs (O_DSYNC): one call instead of
   * a write and a {@link FileHandle.sync}. A write that has failed is as a failed sync.
   */
  readonly synced?: boolean;
}

export interface FileHandle {
  /**
   * Reads up to `length` bytes at `position` into `buffer` at `offset`; returns the bytes read, 0
   * at the end.
   */
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<number>;
  /** Writes all of `bytes` at `position`. Not durable before {@link sync}, or as `synced` says. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  truncate(bytes: number): Promise<void>;
  /** Makes bytes and size durable. After a rejection the file's state is unknown (LOG-8). */
  sync(): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

export interface FileStat {
  readonly kind: 'file' | 'directory' | 'other';
  readonly bytes: number;
  readonly device: bigint;
  readonly inode: bigint;
}

/** An operating-system lock on a file or directory; gone with its process. */
export interface PathLock {
  release(): Promise<void>;
}

export interface FileLayer {
  open(path: string, mode: FileOpenMode, how?: OpenHow): Promise<FileHandle>;
  /** Names in the directory, unsorted. */
  list(path: string): Promise<string[]>;
  /** Does not follow a symbolic link at the end; null when nothing is there. */
  stat(path: string): Promise<FileStat | null>;
  /** One directory; its parent must exist; EEXIST when something is there. */
  makeDirectory(path: string): Promise<void>;
  removeFile(path: string): Promise<void>;
  /** Must be empty. */
  removeDirectory(path: string): Promise<void>;
  /** Replaces a file, or an empty directory by a directory. Durable after syncing both parents. */
  rename(from: string, to: string): Promise<void>;
  /** Exchanges what lies at the two names, atomically (renameat2 RENAME_EXCHANGE). */
  exchange(a: string, b: string): Promise<void>;
  /** Makes the names in the directory durable. */
  syncDirectory(path: string): Promise<void>;
  /**
   * Locks the file or directory (flock, without waiting); the lock follows the inode through
   * renames. Returns the lock, or, when another holds it, a description of the holder.
   */
  lock(path: string, kind: 'exclusive' | 'shared'): Promise<PathLock | { readonly holder: string }>;
  /** Resolves symbolic links; rejects with ENOENT when nothing is there. */
  realPath(path: string): Promise<string>;
}

/** Durable file operations composed of the file layer's; used wherever state is written. */
import { dirname, join } from 'node:path';

import { fail } from '../core/errors.ts';
import type { FileHandle, FileLayer } from './file-layer.ts';

/** Whether `error` is Node's error with this `code`. */
export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/**
 * The whole file, or null when there is none.
 * @throws `data.corrupt` when larger than `maxBytes`: a length is bounded before it is believed
 */
export async function readWhole(
  files: FileLayer,
  path: string,
  maxBytes: number,
): Promise<Buffer | null> {
  const file = await openIfThere(files, path);
  if (file === null) return null;
  try {
    // Of the file that was opened: another one may take its name meanwhile.
    const size = await file.size();
    if (size > maxBytes) {
      throw fail('data.corrupt', {
        file: path,
        offset: maxBytes,
        reason: `it has ${size} bytes where at most ${maxBytes} are possible`,
      });
    }
    const bytes = Buffer.alloc(size);
    let filled = 0;
    while (filled < bytes.length) {
      const got = await file.read(bytes, filled, bytes.length - filled, filled);
      if (got === 0) break;
      filled += got;
    }
    return bytes.subarray(0, filled);
  } finally {
    await file.close();
  }
}

async function openIfThere(files: FileLayer, path: string): Promise<FileHandle | null> {
  try {
    return await files.open(path, 'read');
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) return null;
    throw error;
  }
}

/**
 * Replaces the file by `bytes`: temporary file beside it, fsync, rename, fsync of the directory. A
 * crash leaves the old or the new content, whole.
 */
export async function writeDurably(
  files: FileLayer,
  path: string,
  bytes: Uint8Array,
): Promise<void> {
  await replaceDurably(files, { path, temporary: `${path}.tmp` }, bytes);
}

/**
 * {@link writeDurably} by a temporary file of this name, in the same directory: what a kill left
 * there is overwritten, so that one fixed name never gathers more than one file.
 */
export async function replaceDurably(
  files: FileLayer,
  { path, temporary }: { readonly path: string; readonly temporary: string },
  bytes: Uint8Array,
): Promise<void> {
  await writeSynced(files, temporary, bytes);
  await files.rename(temporary, path);
  await files.syncDirectory(dirname(path));
}

/** Makes or overwrites a file whose name is not durable yet; its bytes are. */
export async function writeSynced(
  files: FileLayer,
  path: string,
  bytes: Uint8Array,
): Promise<void> {
  const file = await files.open(path, 'create');
  try {
    await file.write(bytes, 0);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes the directory and missing parents, each durable in its parent. */
export async function makeDirectories(files: FileLayer, path: string): Promise<void> {
  const stat = await files.stat(path);
  const parent = dirname(path);
  // Whoever made it may have been killed before this sync; those above it were synced before it.
  if (stat?.kind === 'directory') return files.syncDirectory(parent);
  if (parent !== path) await makeDirectories(files, parent);
  try {
    await files.makeDirectory(path);
  } catch (error) {
    const present = isErrno(error, 'EEXIST') ? await files.stat(await files.realPath(path)) : null;
    if (present?.kind !== 'directory') throw error;
  }
  await files.syncDirectory(parent);
}

/**
 * Removes the file or tree, if there; not durable before its parent is synced. Another one
 * removing it at the same time is no failure.
 */
export async function removeTree(files: FileLayer, path: string): Promise<void> {
  const stat = await files.stat(path);
  if (stat === null) return;
  try {
    if (stat.kind !== 'directory') return await files.removeFile(path);
    for (const name of await files.list(path)) await removeTree(files, join(path, name));
    await files.removeDirectory(path);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}

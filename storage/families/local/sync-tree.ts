/**
 * Makes durable what another process wrote and may not have synced: braft syncs neither directories
 * nor a snapshot's files. What an opening for writing has read is relied on from then on.
 */
import { join } from 'node:path';

import type { FileLayer } from '../../file-layer.ts';

/** Bytes of one step of {@link rewriteFile}. */
const rewriteBytes = 1024 * 1024;

/**
 * Makes the file durable also after a sync of it has failed: Linux then counts its pages as clean,
 * so that they are read back from memory but are written by no later sync. The same bytes are
 * written again; a crash meanwhile changes nothing.
 */
export async function rewriteFile(files: FileLayer, path: string): Promise<void> {
  const file = await files.open(path, 'read-write');
  try {
    const piece = Buffer.allocUnsafe(rewriteBytes);
    for (let at = 0; ;) {
      const got = await file.read(piece, 0, piece.length, at);
      if (got === 0) break;
      await file.write(piece.subarray(0, got), at);
      at += got;
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The file, if it is there. */
export async function syncFile(files: FileLayer, path: string): Promise<void> {
  if ((await files.stat(path)) === null) return;
  const file = await files.open(path, 'read');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Everything below the directory, and its names. */
export async function syncTree(files: FileLayer, directory: string): Promise<void> {
  for (const name of await files.list(directory)) {
    const path = join(directory, name);
    const stat = await files.stat(path);
    if (stat?.kind === 'directory') await syncTree(files, path);
    else if (stat?.kind === 'file') await syncFile(files, path);
  }
  await files.syncDirectory(directory);
}

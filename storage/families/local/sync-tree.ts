/**
 * Makes durable what another process wrote and may not have synced: braft syncs neither directories nor
 * a snapshot's files. What an opening for writing has read is relied on from then on.
 */
import { join } from 'node:path';

import type { FileLayer } from '../../file-layer.ts';

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

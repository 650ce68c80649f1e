/** How large a state is, for estimates and progress. */
import { join } from 'node:path';

import type { Instance } from '../storage/contracts.ts';
import type { FileLayer } from '../storage/file-layer.ts';
import { isErrno } from '../storage/files.ts';

/** Entries are sampled up to this many bytes from the front of the log. */
const sampleBytes = 1024 * 1024;

/** Canonical bytes of log and snapshot: exact for files, estimated for entries from a sample. */
export async function stateBytes(instance: Instance): Promise<number> {
  const { firstIndex, lastIndex } = instance.state();
  let bytes = 0;
  for await (const batch of instance.read(firstIndex, lastIndex, { maxBytes: sampleBytes })) {
    const sampled = (batch.offsets.at(-1) ?? 0) - (batch.offsets[0] ?? 0);
    bytes += (sampled / batch.count) * Number(lastIndex - firstIndex + 1n);
    break;
  }
  const snapshot = await instance.snapshots.latest();
  for (const file of snapshot?.files ?? []) bytes += file.bytes;
  await snapshot?.close();
  return Math.round(bytes);
}

/**
 * Bytes of all files at `paths` and below: the estimate for an instance that cannot be read now.
 */
export async function fileBytes(files: FileLayer, paths: readonly string[]): Promise<number> {
  let bytes = 0;
  for (const path of paths) {
    const stat = await files.stat(path);
    if (stat?.kind === 'file') bytes += stat.bytes;
    if (stat?.kind !== 'directory') continue;
    const names = await listOrGone(files, path);
    bytes += await fileBytes(
      files,
      names.map((name) => join(path, name)),
    );
  }
  return bytes;
}

/** A running replica removes directories meanwhile. */
async function listOrGone(files: FileLayer, path: string): Promise<string[]> {
  try {
    return await files.list(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

/**
 * RocksDB begins new MANIFESTs at each opening and names each in CURRENT. When syncing the
 * directory fails right after, version 6.17 removes the new one, though CURRENT names it by then.
 * Nothing is lost, but the database does not open again. The MANIFEST before the opening is still
 * there, with all that it names, for an opening deletes only once it has succeeded.
 */
import { join } from 'node:path';

import { readWhole, writeDurably } from '../../files.ts';
import { nodeFileLayer as files } from '../../node-file-layer.ts';

/** CURRENT is one name and a newline. */
const maxCurrentBytes = 1024;

/** The MANIFEST that CURRENT names; null when there is no CURRENT. */
export async function namedManifest(directory: string): Promise<string | null> {
  const bytes = await readWhole(files, join(directory, 'CURRENT'), maxCurrentBytes);
  return bytes && bytes.toString('utf8').trimEnd();
}

/**
 * When CURRENT names a MANIFEST that is gone: names `before` again, or the only one that is left.
 * Of several it cannot be told which is whole: RocksDB then says which one is missing.
 */
export async function restoreManifest(directory: string, before?: string | null): Promise<void> {
  const named = await namedManifest(directory);
  const manifests = (await files.list(directory)).filter((name) => /^MANIFEST-\d+$/.test(name));
  if (named === null || manifests.includes(named)) return;
  const [only, ...others] = manifests.filter((name) => before == null || name === before);
  if (only === undefined || others.length > 0) return;
  await writeDurably(files, join(directory, 'CURRENT'), Buffer.from(`${only}\n`));
}

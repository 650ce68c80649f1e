/** Everything below a directory, to be compared to the byte. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** Relative path → SHA-256 of a file's bytes, or `directory`. */
export async function treeBytes(root: string): Promise<Record<string, string>> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const described = entries.map(async (entry): Promise<[string, string]> => {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile()) return [relative(root, path), 'directory'];
    const hash = createHash('sha256').update(await readFile(path));
    return [relative(root, path), hash.digest('hex')];
  });
  const sorted = (await Promise.all(described)).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(sorted);
}

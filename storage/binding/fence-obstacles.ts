/** What keeps a path from being fenced; checked in preflight, and again before each exchange. */
import { dirname, join, sep } from 'node:path';

import { fail } from '../../core/errors.ts';
import type { FileLayer } from '../file-layer.ts';
import { isErrno } from '../files.ts';

/**
 * A path that is fenced is absent or a directory: no symbolic link, and no mount point, which no
 * exchange can move.
 * @throws `fence.unexpected`, `io.exchange-unsupported`
 */
export async function requireFenceable(files: FileLayer, path: string): Promise<void> {
  const stat = await files.stat(path);
  if (stat === null) return;
  if (stat.kind !== 'directory') {
    const actual = stat.kind === 'file' ? 'it is a file' : 'it is a symbolic link or special file';
    throw fail('fence.unexpected', { path, actual });
  }
  const parent = await files.stat(await files.realPath(dirname(path)));
  if (path === dirname(path) || parent?.device !== stat.device) {
    throw fail('io.exchange-unsupported', { path, reason: 'it is a mount point' });
  }
}

/**
 * No fenced path may lie inside another, or be the same; symbolic links above them are resolved.
 * @throws `uri.invalid`, naming both
 */
export async function requireSeparate(files: FileLayer, paths: readonly string[]): Promise<void> {
  const places: { path: string; real: string }[] = [];
  for (const path of paths) {
    const real = await resolveExisting(files, path);
    const inside = places.find((it) => overlaps(it.real, real));
    if (inside !== undefined) {
      const reason = `it and ${inside.path} are the same, or one lies inside the other`;
      throw fail('uri.invalid', { uri: path, reason });
    }
    places.push({ path, real });
  }
}

/** The path with symbolic links resolved as far as it exists. */
export async function resolveExisting(files: FileLayer, path: string): Promise<string> {
  const parent = dirname(path);
  if (parent === path) return files.realPath(path);
  if ((await files.stat(path)) !== null) {
    try {
      return await files.realPath(path);
    } catch (error) {
      // Removed since it was looked at; a link that leads nowhere is still there.
      if (!isErrno(error, 'ENOENT') || (await files.stat(path)) !== null) throw error;
    }
  }
  return join(await resolveExisting(files, parent), path.slice(parent.length));
}

/** Whether two real paths are the same, or one lies inside the other. */
export function overlaps(a: string, b: string): boolean {
  return contains(a, b) || contains(b, a);
}

function contains(outer: string, inner: string): boolean {
  return inner === outer || inner.startsWith(outer.endsWith(sep) ? outer : outer + sep);
}

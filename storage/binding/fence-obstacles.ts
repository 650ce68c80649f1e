/** What keeps a path from being fenced; checked in preflight, and again before each exchange. */
import { randomUUID } from 'node:crypto';
import { dirname, join, sep } from 'node:path';

import { fail } from '../../core/errors.ts';
import type { FileLayer } from '../file-layer.ts';
import { isErrno, removeTree } from '../files.ts';

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
 * @throws `fence.unexpected`, naming both
 */
export async function requireSeparate(files: FileLayer, paths: readonly string[]): Promise<void> {
  const places: { path: string; real: string }[] = [];
  for (const path of paths) {
    const real = await resolveExisting(files, path);
    const inside = places.find((it) => contains(it.real, real) || contains(real, it.real));
    if (inside !== undefined) {
      const actual = `it and ${inside.path} are the same, or one lies inside the other`;
      throw fail('fence.unexpected', { path, actual });
    }
    places.push({ path, real });
  }
}

/**
 * Tries an exchange of a file and a directory in `directory`, or where it is absent in its nearest
 * ancestor, on whose file system it will be made. Leaves nothing behind.
 * @throws `io.exchange-unsupported`; Node's errors where nothing can be made
 */
export async function probeExchange(files: FileLayer, directory: string): Promise<void> {
  if ((await files.stat(directory)) === null && dirname(directory) !== directory) {
    return probeExchange(files, dirname(directory));
  }
  const probe = join(directory, `.quorumshift-probe-${randomUUID()}`);
  const [file, folder] = [`${probe}-file`, `${probe}-directory`];
  try {
    await (await files.open(file, 'create-exclusive')).close();
    await files.makeDirectory(folder);
    await files.exchange(file, folder);
    if ((await files.stat(file))?.kind !== 'directory') {
      throw fail('io.exchange-unsupported', { path: directory, reason: 'it had no effect' });
    }
  } catch (error) {
    if (!isErrno(error, 'EPERM')) throw error;
    throw fail('io.exchange-unsupported', { path: directory, reason: 'EPERM' }, { cause: error });
  } finally {
    await removeTree(files, file);
    await removeTree(files, folder);
  }
}

async function resolveExisting(files: FileLayer, path: string): Promise<string> {
  const parent = dirname(path);
  if (parent === path || (await files.stat(path)) !== null) return files.realPath(path);
  return join(await resolveExisting(files, parent), path.slice(parent.length));
}

function contains(outer: string, inner: string): boolean {
  return inner === outer || inner.startsWith(outer.endsWith(sep) ? outer : outer + sep);
}

/**
 * Which relative paths a snapshot's tree may hold, the same for every family that keeps real files.
 */
import { fail } from '../core/errors.ts';

/** NAME_MAX of Linux file systems, in bytes of UTF-8. */
const maxNameBytes = 255;
/** PATH_MAX is 4096 with the directory in front; the rest is left to that. */
const maxPathBytes = 2048;

/** What is wrong with `path`, in words; null when it can be used. */
export function snapshotPathFault(path: string): string | null {
  if (path === '') return 'it is empty';
  if (Buffer.from(path).toString() !== path) return 'it is not UTF-8';
  if (path.includes('\0')) return 'it has a zero byte';
  if (Buffer.byteLength(path) > maxPathBytes) return `it has more than ${maxPathBytes} bytes`;
  for (const name of path.split('/')) {
    if (name === '') return 'it has an empty part';
    if (name === '.' || name === '..') return `it has the part "${name}"`;
    if (Buffer.byteLength(name) > maxNameBytes) return `a part has more than ${maxNameBytes} bytes`;
  }
  return null;
}

/** The names given so far in one snapshot: each once, and none both a file and a directory. */
export class SnapshotPaths {
  readonly #files = new Set<string>();
  readonly #directories = new Set<string>();

  /** Directories that the files lie in, parents before children. */
  get directories(): ReadonlySet<string> {
    return this.#directories;
  }

  /** @throws `snapshot.invalid-path` */
  add(path: string): void {
    const reason = snapshotPathFault(path) ?? this.#collision(path);
    if (reason !== null) throw fail('snapshot.invalid-path', { path, reason });
    this.#files.add(path);
    for (const directory of parentsOf(path)) this.#directories.add(directory);
  }

  #collision(path: string): string | null {
    if (this.#files.has(path)) return 'it is given twice';
    if (this.#directories.has(path)) return 'it is a directory of another file';
    const parent = parentsOf(path).find((directory) => this.#files.has(directory));
    return parent === undefined ? null : `"${parent}" is a file`;
  }
}

/** `a`, `a/b` for `a/b/c`. */
export function parentsOf(path: string): string[] {
  const names = path.split('/').slice(0, -1);
  return names.map((_, i) => names.slice(0, i + 1).join('/'));
}

/** Order of files in a snapshot: by the bytes of their paths. */
export function byPathBytes(a: { readonly path: string }, b: { readonly path: string }): number {
  return Buffer.compare(Buffer.from(a.path), Buffer.from(b.path));
}

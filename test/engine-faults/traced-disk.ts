/**
 * The directory of a traced process as the disk may hold it: its trace, played into the file system
 * that the crash tests of the file layer use. A power loss keeps what was synced, and of the rest a
 * part by its seed; a file's sync does not save its name.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';

import { CrashTree, type DirectoryNode, type Node } from '../../storage/testing/crash-tree.ts';
import { seededRandom } from '../../storage/testing/seeded-random.ts';
import type { TraceRecord } from './operation-trace.ts';

export class TracedDisk {
  readonly #tree = new CrashTree();
  #root: string;
  #byInode = new Map<string, Node>();

  /** `root`: the directory that is traced, empty. */
  constructor(root: string) {
    this.#root = root;
  }

  play(records: readonly TraceRecord[]): void {
    for (const record of records) this.#playOne(record);
  }

  /** Writes what programs see to a directory of its own; the next trace played is of there. */
  moveTo(root: string): void {
    this.#root = root;
    this.#byInode = new Map();
    layDirectory(this.#tree.root, root, this.#byInode);
  }

  /** Writes what a power loss leaves. */
  losePower(seed: number, to: string): void {
    layDirectory(this.#tree.survivor(seededRandom(seed)).root, to, new Map());
  }

  /** Path, size and digest of each file, as programs see it. */
  digests(): string[] {
    return digests(filesOf(this.#tree.root));
  }

  #playOne(record: TraceRecord): void {
    const tree = this.#tree;
    switch (record.kind) {
      case 'begin':
        this.#byInode.set(record.inode, tree.root);
        return;
      case 'create':
      case 'mkdir': {
        const node = record.kind === 'create' ? tree.file() : tree.directory();
        this.#byInode.set(record.inode, node);
        tree.change([{ ...this.#place(record.path), node }]);
        return;
      }
      case 'rename':
      case 'link': {
        const from = this.#place(record.from);
        const node = found(from.directory.seen.get(from.name), record.from);
        const linked = { ...this.#place(record.to), node };
        tree.change(record.kind === 'link' ? [linked] : [{ ...from, node: null }, linked]);
        return;
      }
      case 'remove':
        tree.change([{ ...this.#place(record.path), node: null }]);
        return;
      case 'told':
        return;
      case 'write':
      case 'truncate':
      case 'sync':
      case 'failed-sync':
        this.#playContent(record);
    }
  }

  #playContent(
    record: Extract<TraceRecord, { kind: 'write' | 'truncate' | 'sync' | 'failed-sync' }>,
  ): void {
    const node = found(this.#byInode.get(record.inode), `inode ${record.inode}`);
    if (node.kind === 'directory') {
      if (record.kind === 'sync') this.#tree.sync(node);
    } else if (record.kind === 'write') node.content.write(record.bytes, record.position);
    else if (record.kind === 'truncate') node.content.truncate(record.size);
    else if (record.kind === 'sync') node.content.sync();
    else node.content.failSync();
  }

  #place(path: string): { directory: DirectoryNode; name: string } {
    const names = relative(this.#root, path).split('/');
    const name = names.pop() ?? '';
    let directory = this.#tree.root;
    for (const parent of names) {
      const node = found(directory.seen.get(parent), path);
      if (node.kind === 'file') throw new Error(`a directory must be at ${parent} of ${path}`);
      directory = node;
    }
    return { directory, name };
  }
}

/** @throws Error when the trace misses how it came to be */
function found(node: Node | undefined, name: string): Node {
  if (node === undefined) throw new Error(`the trace knows no ${name}`);
  return node;
}

function layDirectory(node: DirectoryNode, path: string, byInode: Map<string, Node>): void {
  mkdirSync(path, { recursive: true });
  byInode.set(String(statSync(path).ino), node);
  for (const [name, child] of node.seen) {
    const at = join(path, name);
    if (child.kind === 'directory') {
      layDirectory(child, at, byInode);
      continue;
    }
    writeFileSync(at, child.content.view());
    byInode.set(String(statSync(at).ino), child);
  }
}

function* filesOf(directory: DirectoryNode, prefix = ''): Generator<[string, Buffer]> {
  for (const [name, node] of directory.seen) {
    if (node.kind === 'directory') yield* filesOf(node, `${prefix}${name}/`);
    else yield [`${prefix}${name}`, node.content.view()];
  }
}

/** The same as {@link TracedDisk.digests}, of a real directory. */
export function digestsBelow(root: string): string[] {
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' });
  const paths = names.filter((name) => statSync(join(root, name)).isFile());
  return digests(paths.map((path) => [path, readFileSync(join(root, path))]));
}

function digests(files: Iterable<[string, Buffer]>): string[] {
  const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
  return Array.from(
    files,
    ([path, bytes]) => `${path} ${bytes.length} ${digest(bytes)}`,
  ).toSorted();
}

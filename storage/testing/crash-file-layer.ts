import { posix } from 'node:path';

import { fail } from '../../core/errors.ts';
import type {
  FileHandle,
  FileLayer,
  FileOpenMode,
  FileStat,
  OpenHow,
  PathLock,
} from '../file-layer.ts';
import { directAlignment } from '../file-layer.ts';
import { CrashTree, type DirectoryNode, type FileNode, type Node } from './crash-tree.ts';
import { seededRandom, type SeededRandom } from './seeded-random.ts';

/** The operations that are counted: all that change what a later process may find. */
export type CrashOperation =
  | 'create'
  | 'write'
  | 'truncate'
  | 'sync'
  | 'rename'
  | 'exchange'
  | 'remove'
  | 'mkdir'
  | 'rmdir'
  | 'syncDirectory';

/** Thrown by the operation at which the machine stops, and by each one after it. */
export class Crash extends Error {
  override readonly name = 'Crash';
}

interface Fault {
  readonly operation: CrashOperation;
  /** EINVAL of `exchange` means a file system without RENAME_EXCHANGE, as in the real layer. */
  readonly code: 'EIO' | 'ENOSPC' | 'EINVAL';
  countdown: number;
}

/** One device: nothing in it is a mount point. */
const device = 1n;

/** What ext4 and tmpfs report for a small directory. */
const directoryBytes = 4096;

/**
 * A file system in memory that loses at a crash what was not synced. Deterministic by its seed.
 *
 * A crash keeps synced bytes and synced names. Of unsynced writes each is kept, cut to a prefix,
 * left as zeros within the extended size, or lost; of each directory's unsynced changes a prefix is
 * kept, where a rename or exchange counts for both of its names or for none. A file's `sync` does
 * not save its name. After a failed `sync` its writes count as clean, as on Linux: the next one
 * saves nothing. Locks vanish. Errors have Node's codes; there are no symbolic links and no mounts.
 *
 * @example
 * const files = new CrashFileLayer(7);
 * const file = await files.open('/log', 'create');
 * await file.write(Buffer.alloc(4096, 0x61), 0);
 * await file.sync();
 * await files.syncDirectory('/'); // Without this line the name may be lost.
 * files.crashAt(1);
 * await file.write(Buffer.alloc(4096, 0x62), 0).catch(() => {}); // Crash
 * const after = files.afterCrash(7); // "/log": 4,096 times "a", or a prefix of "b" and then "a"
 */
export class CrashFileLayer implements FileLayer {
  readonly #random: SeededRandom;
  readonly #locks = new Map<Node, { exclusive: boolean; holders: number }>();
  readonly #faults: Fault[] = [];
  #tree = new CrashTree();
  #operations = 0;
  #crashAt = Infinity;
  #crashed = false;

  constructor(seed = 1) {
    this.#random = seededRandom(seed);
  }

  /** Mutating operations begun so far. */
  get operations(): number {
    return this.#operations;
  }

  get crashed(): boolean {
    return this.#crashed;
  }

  /**
   * The `k`-th mutating operation from now (1 is the next) is the last: before or after its effect,
   * by seed.
   */
  crashAt(k: number): void {
    this.#crashAt = this.#operations + k;
  }

  /**
   * The `nth` such operation from now (1 is the next) fails, once. ENOSPC of a write leaves a
   * prefix of it.
   */
  failAt(fault: { operation: CrashOperation; code: Fault['code']; nth: number }): void {
    const { operation, code, nth } = fault;
    this.#faults.push({ operation, code, countdown: nth });
  }

  /**
   * The machine stops, if it has not; a fresh layer of what is left. May be called for several
   * seeds.
   */
  afterCrash(seed: number): CrashFileLayer {
    this.#crashed = true;
    const after = new CrashFileLayer(seed);
    after.#tree = this.#tree.survivor(seededRandom(seed));
    return after;
  }

  /** The tree as programs see it, a line for each name; `*` marks a file with unsynced changes. */
  dump(): string {
    const lines: string[] = [];
    const walk = (directory: DirectoryNode, path: string) => {
      for (const [name, node] of [...directory.seen].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
        if (node.kind === 'directory') lines.push(`${path}/${name}/`);
        else lines.push(`${path}/${name} ${describeContent(node)}`);
        if (node.kind === 'directory') walk(node, `${path}/${name}`);
      }
    };
    walk(this.#tree.root, '');
    return lines.join('\n');
  }

  async open(path: string, mode: FileOpenMode, how?: OpenHow): Promise<FileHandle> {
    this.#requireAlive();
    const node = this.#find(path, 'open');
    if (mode === 'read' || mode === 'read-write') {
      if (node === null) throw errno('ENOENT', 'open', path);
      if (node.kind === 'directory' && mode === 'read-write') throw errno('EISDIR', 'open', path);
      return this.#handle({ node, path, writable: mode === 'read-write', how });
    }
    if (node !== null && mode === 'create-exclusive') throw errno('EEXIST', 'open', path);
    if (node?.kind === 'directory') throw errno('EISDIR', 'open', path);
    const file = node ?? this.#tree.file();
    const { directory, name } = this.#parent(path, 'open');
    this.#mutate('create', path, () => {
      if (node === null) this.#tree.change([{ directory, name, node: file }]);
      else if (file.content.size > 0) file.content.truncate(0);
    });
    return this.#handle({ node: file, path, writable: true, how });
  }

  async list(path: string): Promise<string[]> {
    this.#requireAlive();
    return [...this.#directory(path, 'scandir').seen.keys()];
  }

  async stat(path: string): Promise<FileStat | null> {
    this.#requireAlive();
    let node: Node | null;
    try {
      node = this.#find(path, 'lstat');
    } catch {
      return null;
    }
    if (node === null) return null;
    const bytes = node.kind === 'file' ? node.content.size : directoryBytes;
    return { kind: node.kind, bytes, device, inode: node.inode };
  }

  async makeDirectory(path: string): Promise<void> {
    this.#requireAlive();
    if (this.#find(path, 'mkdir') !== null) throw errno('EEXIST', 'mkdir', path);
    const place = this.#parent(path, 'mkdir');
    const node = this.#tree.directory();
    this.#mutate('mkdir', path, () => this.#tree.change([{ ...place, node }]));
  }

  async removeFile(path: string): Promise<void> {
    this.#requireAlive();
    if (this.#require(path, 'unlink').kind === 'directory') throw errno('EISDIR', 'unlink', path);
    const place = this.#parent(path, 'unlink');
    this.#mutate('remove', path, () => this.#tree.change([{ ...place, node: null }]));
  }

  async removeDirectory(path: string): Promise<void> {
    this.#requireAlive();
    if (this.#directory(path, 'rmdir').seen.size > 0) throw errno('ENOTEMPTY', 'rmdir', path);
    const place = this.#parent(path, 'rmdir');
    this.#mutate('rmdir', path, () => this.#tree.change([{ ...place, node: null }]));
  }

  async rename(from: string, to: string): Promise<void> {
    this.#requireAlive();
    const node = this.#require(from, 'rename');
    const target = this.#find(to, 'rename');
    const source = this.#parent(from, 'rename');
    const place = this.#parent(to, 'rename');
    if (node !== target) requireReplaceable({ node, target, from, to });
    this.#mutate('rename', from, () => {
      if (node === target) return;
      this.#tree.change([
        { ...source, node: null },
        { ...place, node },
      ]);
    });
  }

  async exchange(a: string, b: string): Promise<void> {
    this.#requireAlive();
    const [nodeA, nodeB] = [this.#require(a, 'renameat2'), this.#require(b, 'renameat2')];
    if (isInside(a, b) || isInside(b, a)) throw unsupportedExchange(a);
    const [placeA, placeB] = [this.#parent(a, 'renameat2'), this.#parent(b, 'renameat2')];
    this.#mutate('exchange', a, () => {
      if (nodeA === nodeB) return;
      this.#tree.change([
        { ...placeA, node: nodeB },
        { ...placeB, node: nodeA },
      ]);
    });
  }

  async syncDirectory(path: string): Promise<void> {
    this.#requireAlive();
    const directory = this.#directory(path, 'open');
    this.#mutate('syncDirectory', path, () => this.#tree.sync(directory));
  }

  async lock(
    path: string,
    kind: 'exclusive' | 'shared',
  ): Promise<PathLock | { readonly holder: string }> {
    this.#requireAlive();
    const node = this.#require(path, 'open');
    const held = this.#locks.get(node);
    if (held !== undefined && (held.exclusive || kind === 'exclusive')) {
      return { holder: `this process (pid ${process.pid})` };
    }
    const lock = held ?? { exclusive: kind === 'exclusive', holders: 0 };
    lock.holders += 1;
    this.#locks.set(node, lock);
    return {
      release: async () => {
        lock.holders -= 1;
        if (lock.holders === 0) this.#locks.delete(node);
      },
    };
  }

  async realPath(path: string): Promise<string> {
    this.#requireAlive();
    this.#require(path, 'realpath');
    return posix.resolve('/', path);
  }

  #handle(opened: {
    node: Node;
    path: string;
    writable: boolean;
    how: OpenHow | undefined;
  }): FileHandle {
    const { node, path, writable, how } = opened;
    let open = true;
    const use = (call: string, needed: 'reading' | 'writing'): FileNode => {
      this.#requireAlive();
      if (!open || (needed === 'writing' && !writable && call === 'write')) {
        throw errno('EBADF', call, path);
      }
      if (needed === 'writing' && !writable) throw errno('EINVAL', call, path);
      if (node.kind === 'directory') throw errno('EISDIR', call, path);
      return node;
    };
    return {
      read: async (buffer, offset, length, position) => {
        const { content } = use('read', 'reading');
        const bytes = content.view().subarray(position, position + length);
        buffer.set(bytes, offset);
        return bytes.length;
      },
      write: async (bytes, position) => {
        const { content } = use('write', 'writing');
        const whole = bytes.length % directAlignment === 0 && position % directAlignment === 0;
        if (how?.direct === true && !whole) throw errno('EINVAL', 'write', path);
        if (bytes.length > 0) this.#write({ content, path, bytes, position });
        if (how?.synced === true) this.#sync(path, content);
      },
      truncate: async (size) => {
        const { content } = use('ftruncate', 'writing');
        this.#mutate('truncate', path, () => content.truncate(size));
      },
      sync: async () => {
        if (node.kind === 'directory' && open) return this.syncDirectory(path);
        const { content } = use('fsync', 'reading');
        this.#sync(path, content);
      },
      size: async () =>
        node.kind === 'directory' ? directoryBytes : use('fstat', 'reading').content.size,
      close: async () => {
        if (!open) throw errno('EBADF', 'close', path);
        open = false;
      },
    };
  }

  #sync(path: string, content: FileNode['content']): void {
    const ifFailed = () => content.failSync();
    this.#mutate('sync', path, () => content.sync(), ifFailed);
  }

  #write(write: {
    content: FileNode['content'];
    path: string;
    bytes: Uint8Array;
    position: number;
  }): void {
    const { content, path, bytes, position } = write;
    const ifFailed = (code: string) => {
      const done = code === 'ENOSPC' ? this.#random.below(bytes.length) : 0;
      if (done > 0) content.write(bytes.subarray(0, done), position);
    };
    this.#mutate('write', path, () => content.write(bytes, position), ifFailed);
  }

  #mutate(
    operation: CrashOperation,
    path: string,
    effect: () => void,
    ifFailed: (code: string) => void = () => {},
  ): void {
    this.#operations += 1;
    const crashes = this.#operations === this.#crashAt;
    const takesEffect = !crashes || this.#random.chance();
    const failure = this.#failure(operation);
    if (failure !== null && takesEffect) ifFailed(failure);
    else if (takesEffect) effect();
    if (crashes) {
      this.#crashed = true;
      this.#requireAlive();
    }
    if (failure === 'EINVAL' && operation === 'exchange') throw unsupportedExchange(path);
    if (failure !== null) throw errno(failure, operation, path);
  }

  /** Counts down every fault of the operation; the code of one that is due. */
  #failure(operation: CrashOperation): Fault['code'] | null {
    let due: Fault['code'] | null = null;
    for (const fault of this.#faults) {
      if (fault.operation !== operation) continue;
      fault.countdown -= 1;
      if (fault.countdown === 0) due = fault.code;
    }
    return due;
  }

  #requireAlive(): void {
    if (this.#crashed) throw new Crash(`the machine stopped at operation ${this.#operations}`);
  }

  /** @returns null when only the last component is missing */
  #find(path: string, call: string): Node | null {
    let node: Node | undefined = this.#tree.root;
    const names = components(path);
    for (const [depth, name] of names.entries()) {
      if (node.kind !== 'directory') throw errno('ENOTDIR', call, path);
      node = node.seen.get(name);
      if (node === undefined && depth === names.length - 1) return null;
      if (node === undefined) throw errno('ENOENT', call, path);
    }
    return node;
  }

  #require(path: string, call: string): Node {
    const node = this.#find(path, call);
    if (node === null) throw errno('ENOENT', call, path);
    return node;
  }

  #directory(path: string, call: string): DirectoryNode {
    const node = this.#require(path, call);
    if (node.kind !== 'directory') throw errno('ENOTDIR', call, path);
    return node;
  }

  #parent(path: string, call: string): { directory: DirectoryNode; name: string } {
    const name = components(path).at(-1);
    if (name === undefined) throw errno('EBUSY', call, path);
    return { directory: this.#directory(posix.dirname(posix.resolve('/', path)), call), name };
  }
}

function components(path: string): string[] {
  return posix.resolve('/', path).split('/').filter(Boolean);
}

/** Whether `path` lies below `directory`. */
function isInside(path: string, directory: string): boolean {
  const [inner, outer] = [components(path), components(directory)];
  return inner.length > outer.length && outer.every((name, depth) => inner[depth] === name);
}

/** rename(2)'s refusals. */
function requireReplaceable(rename: {
  node: Node;
  target: Node | null;
  from: string;
  to: string;
}): void {
  const { node, target, from, to } = rename;
  if (isInside(to, from)) throw errno('EINVAL', 'rename', from);
  if (isInside(from, to)) throw errno('ENOTEMPTY', 'rename', from);
  if (target === null) return;
  if (node.kind === 'directory' && target.kind === 'file') throw errno('ENOTDIR', 'rename', from);
  if (target.kind !== 'directory') return;
  if (node.kind === 'file') throw errno('EISDIR', 'rename', from);
  if (target.seen.size > 0) throw errno('ENOTEMPTY', 'rename', from);
}

function unsupportedExchange(path: string): Error {
  return fail('io.exchange-unsupported', { path, reason: 'EINVAL' });
}

function errno(code: string, syscall: string, path: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${syscall} '${path}'`), { code, syscall, path });
}

function describeContent({ content }: FileNode): string {
  const start = content.view().subarray(0, 16).toString('latin1');
  const text = JSON.stringify(start) + (content.size > 16 ? '…' : '');
  return `${content.size} bytes ${text}${content.hasUnsynced ? ' *' : ''}`;
}

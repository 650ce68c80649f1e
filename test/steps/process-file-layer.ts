import type {
  FileHandle,
  FileLayer,
  FileOpenMode,
  OpenHow,
  PathLock,
} from '../../storage/file-layer.ts';

/** One operation that a process is about to make. */
interface Operation {
  readonly kind: 'read' | 'change' | 'lock';
  readonly path: string;
}

/**
 * One process's view of a file layer that others go on using; `before` is asked before each
 * operation.
 */
class ProcessFileLayer implements FileLayer {
  readonly #files: FileLayer;
  readonly #before: (operation: Operation) => Promise<void>;
  readonly #locks = new Map<PathLock, string>();

  constructor(files: FileLayer, before: (operation: Operation) => Promise<void>) {
    this.#files = files;
    this.#before = before;
  }

  holds(path: string): boolean {
    return [...this.#locks.values()].includes(path);
  }

  /** What the operating system does for a process that is gone. */
  async releaseLocks(): Promise<void> {
    const locks = [...this.#locks.keys()];
    this.#locks.clear();
    for (const lock of locks) await lock.release();
  }

  async open(path: string, mode: FileOpenMode, how?: OpenHow): Promise<FileHandle> {
    const makes = mode === 'create' || mode === 'create-exclusive';
    const handle = await this.#run(makes ? 'change' : 'read', path, () =>
      this.#files.open(path, mode, how),
    );
    return {
      read: (buffer, offset, length, position) =>
        this.#run('read', path, () => handle.read(buffer, offset, length, position)),
      write: (bytes, position) => this.#run('change', path, () => handle.write(bytes, position)),
      truncate: (bytes) => this.#run('change', path, () => handle.truncate(bytes)),
      sync: () => this.#run('change', path, () => handle.sync()),
      size: () => this.#run('read', path, () => handle.size()),
      close: () => this.#run('read', path, () => handle.close()),
    };
  }

  list(path: string) {
    return this.#run('read', path, () => this.#files.list(path));
  }

  stat(path: string) {
    return this.#run('read', path, () => this.#files.stat(path));
  }

  makeDirectory(path: string) {
    return this.#run('change', path, () => this.#files.makeDirectory(path));
  }

  removeFile(path: string) {
    return this.#run('change', path, () => this.#files.removeFile(path));
  }

  removeDirectory(path: string) {
    return this.#run('change', path, () => this.#files.removeDirectory(path));
  }

  rename(from: string, to: string) {
    return this.#run('change', from, () => this.#files.rename(from, to));
  }

  exchange(a: string, b: string) {
    return this.#run('change', a, () => this.#files.exchange(a, b));
  }

  syncDirectory(path: string) {
    return this.#run('change', path, () => this.#files.syncDirectory(path));
  }

  async lock(path: string, kind: 'exclusive' | 'shared') {
    const lock = await this.#run('lock', path, () => this.#files.lock(path, kind));
    if ('holder' in lock) return lock;
    this.#locks.set(lock, path);
    return {
      release: async () => {
        if (this.#locks.delete(lock)) await lock.release();
      },
    };
  }

  realPath(path: string) {
    return this.#run('read', path, () => this.#files.realPath(path));
  }

  async #run<T>(kind: Operation['kind'], path: string, operation: () => Promise<T>): Promise<T> {
    await this.#before({ kind, path });
    return operation();
  }
}

/** Thrown by the operation at which the process was killed, and by each one after it. */
class Killed extends Error {
  override readonly name = 'Killed';
}

/**
 * A process that is killed before its `k`-th change: what it did stays, synced or not; its locks
 * go.
 */
export function killedAt(files: FileLayer, k: number): { files: FileLayer; killed(): boolean } {
  let changes = 0;
  const process = new ProcessFileLayer(files, async ({ kind }) => {
    if (kind === 'change') changes += 1;
    if (changes < k) return;
    await process.releaseLocks();
    throw new Killed(`the process was killed at its change ${k}`);
  });
  return { files: process, killed: () => changes >= k };
}

/**
 * A process that stops before its `k`-th change or lock, and goes on when it is let.
 * `stalled` resolves when it has come there.
 */
export function stalledAt(files: FileLayer, k: number) {
  let operations = 0;
  let arrive = (_at: Operation): void => {};
  let letGo = (): void => {};
  const stalled = new Promise<Operation>((resolve) => (arrive = resolve));
  const gate = new Promise<void>((resolve) => (letGo = resolve));
  const process = new ProcessFileLayer(files, async (operation) => {
    if (operation.kind === 'read') return;
    operations += 1;
    if (operations !== k) return;
    arrive(operation);
    await gate;
  });
  return { files: process, stalled, letGo: () => letGo() };
}

import type { FileHandle, FileLayer, FileOpenMode, PathLock } from '../../storage/file-layer.ts';

/** Thrown by the operation at which the process was killed, and by each one after it. */
export class Killed extends Error {
  override readonly name = 'Killed';
}

/**
 * One process's view of a file layer that others go on using: before its `k`-th mutating operation
 * it is killed. What it did stays, synced or not; its locks go.
 */
export class KillableFileLayer implements FileLayer {
  readonly #files: FileLayer;
  readonly #killAt: number;
  readonly #locks = new Set<PathLock>();
  #operations = 0;
  #killed = false;

  constructor(files: FileLayer, killAt: number) {
    this.#files = files;
    this.#killAt = killAt;
  }

  get killed(): boolean {
    return this.#killed;
  }

  async open(path: string, mode: FileOpenMode): Promise<FileHandle> {
    const mutates = mode === 'create' || mode === 'create-exclusive';
    const handle = await this.#run(mutates, () => this.#files.open(path, mode));
    return {
      read: (buffer, offset, length, position) =>
        this.#run(false, () => handle.read(buffer, offset, length, position)),
      write: (bytes, position) => this.#run(true, () => handle.write(bytes, position)),
      truncate: (bytes) => this.#run(true, () => handle.truncate(bytes)),
      sync: () => this.#run(true, () => handle.sync()),
      size: () => this.#run(false, () => handle.size()),
      close: () => this.#run(false, () => handle.close()),
    };
  }

  list(path: string) {
    return this.#run(false, () => this.#files.list(path));
  }

  stat(path: string) {
    return this.#run(false, () => this.#files.stat(path));
  }

  makeDirectory(path: string) {
    return this.#run(true, () => this.#files.makeDirectory(path));
  }

  removeFile(path: string) {
    return this.#run(true, () => this.#files.removeFile(path));
  }

  removeDirectory(path: string) {
    return this.#run(true, () => this.#files.removeDirectory(path));
  }

  rename(from: string, to: string) {
    return this.#run(true, () => this.#files.rename(from, to));
  }

  exchange(a: string, b: string) {
    return this.#run(true, () => this.#files.exchange(a, b));
  }

  syncDirectory(path: string) {
    return this.#run(true, () => this.#files.syncDirectory(path));
  }

  async lock(path: string, kind: 'exclusive' | 'shared') {
    const lock = await this.#run(false, () => this.#files.lock(path, kind));
    if ('holder' in lock) return lock;
    this.#locks.add(lock);
    return {
      release: async () => {
        if (this.#locks.delete(lock)) await lock.release();
      },
    };
  }

  realPath(path: string) {
    return this.#run(false, () => this.#files.realPath(path));
  }

  async #run<T>(mutates: boolean, operation: () => Promise<T>): Promise<T> {
    if (mutates) this.#operations += 1;
    if (mutates && this.#operations === this.#killAt) await this.#die();
    if (this.#killed) throw new Killed(`the process was killed at operation ${this.#killAt}`);
    return operation();
  }

  async #die(): Promise<void> {
    this.#killed = true;
    for (const lock of this.#locks) await lock.release();
    this.#locks.clear();
  }
}

/** A file layer whose calls do not return where a disk stands still, until it goes on. */
import type { FileHandle, FileLayer } from '../../storage/file-layer.ts';

export class StandingFiles {
  readonly layer: FileLayer;
  /** `<call> <path>` that stand still from now on; null: none. */
  #stands: RegExp | null = null;
  #waiting: (() => void)[] = [];
  #arrived: (() => void)[] = [];

  constructor(files: FileLayer) {
    const at = async (call: string, path: string) => this.#pass(`${call} ${path}`);
    const handle = (file: FileHandle, path: string): FileHandle => ({
      read: async (...given) => at('read', path).then(() => file.read(...given)),
      write: async (...given) => at('write', path).then(() => file.write(...given)),
      truncate: async (bytes) => at('truncate', path).then(() => file.truncate(bytes)),
      sync: async () => at('sync', path).then(() => file.sync()),
      size: () => file.size(),
      close: () => file.close(),
    });
    this.layer = {
      open: async (path, ...how) => {
        await at('open', path);
        return handle(await files.open(path, ...how), path);
      },
      list: async (path) => at('list', path).then(() => files.list(path)),
      stat: async (path) => at('stat', path).then(() => files.stat(path)),
      makeDirectory: async (path) =>
        at('makeDirectory', path).then(() => files.makeDirectory(path)),
      removeFile: async (path) => at('removeFile', path).then(() => files.removeFile(path)),
      removeDirectory: async (path) =>
        at('removeDirectory', path).then(() => files.removeDirectory(path)),
      rename: async (from, to) => at('rename', to).then(() => files.rename(from, to)),
      exchange: (a, b) => files.exchange(a, b),
      syncDirectory: async (path) =>
        at('syncDirectory', path).then(() => files.syncDirectory(path)),
      lock: (path, kind) => files.lock(path, kind),
      realPath: (path) => files.realPath(path),
    };
  }

  stand(at: RegExp): void {
    this.#stands = at;
  }

  /** Resolves when a call stands. */
  async arrived(): Promise<void> {
    if (this.#waiting.length > 0) return;
    await new Promise<void>((resolve) => this.#arrived.push(resolve));
  }

  /** What stands goes on, and nothing stands any more. */
  goOn(): void {
    this.#stands = null;
    for (const go of this.#waiting.splice(0)) go();
  }

  async #pass(call: string): Promise<void> {
    if (this.#stands?.test(call) !== true) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
      for (const tell of this.#arrived.splice(0)) tell();
    });
  }
}

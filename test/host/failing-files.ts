/** A file layer on which certain files cannot be written: their disk has failed. */
import type { FileLayer } from '../../storage/file-layer.ts';

export class FailingFiles {
  readonly layer: FileLayer;
  /** Paths that cannot be created or replaced from now on; null: all can. */
  refused: RegExp | null = null;

  constructor(files: FileLayer) {
    this.layer = {
      open: async (path, mode, how) => {
        if (mode !== 'read' && this.refused?.test(path)) throw eio('open', path);
        return files.open(path, mode, how);
      },
      list: (path) => files.list(path),
      stat: (path) => files.stat(path),
      makeDirectory: (path) => files.makeDirectory(path),
      removeFile: (path) => files.removeFile(path),
      removeDirectory: (path) => files.removeDirectory(path),
      rename: async (from, to) => {
        if (this.refused?.test(to)) throw eio('rename', to);
        return files.rename(from, to);
      },
      exchange: (a, b) => files.exchange(a, b),
      syncDirectory: (path) => files.syncDirectory(path),
      lock: (path, kind) => files.lock(path, kind),
      realPath: (path) => files.realPath(path),
    };
  }
}

function eio(syscall: string, path: string): Error {
  return Object.assign(new Error(`EIO: i/o error, ${syscall} '${path}'`), {
    code: 'EIO',
    errno: -5,
    syscall,
    path,
  });
}

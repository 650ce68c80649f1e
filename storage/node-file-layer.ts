/**
 * The real file system. Linux: flock and renameat2 are called through koffi, Node has no binding.
 */
import {
  close,
  closeSync,
  constants,
  fstatSync,
  fsync,
  ftruncate,
  fstat,
  lstat,
  mkdir,
  open,
  openSync,
  read,
  readdir,
  readFileSync,
  readlinkSync,
  realpath,
  rename,
  rmdir,
  unlink,
  write,
} from 'node:fs';
import { promisify } from 'node:util';

import koffi from 'koffi';

import { fail } from '../core/errors.ts';
import type {
  FileHandle,
  FileLayer,
  FileOpenMode,
  FileStat,
  OpenHow,
  PathLock,
} from './file-layer.ts';
import { isErrno } from './files.ts';

const openAsync = promisify(open);
const closeAsync = promisify(close);
const fsyncAsync = promisify(fsync);
const ftruncateAsync = promisify(ftruncate);
const unlinkAsync = promisify(unlink);
const fstatAsync = promisify(fstat);
const lstatAsync = promisify(lstat);

/** Linux values; <sys/file.h>, <linux/fs.h>, <fcntl.h>, <errno.h>. */
const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const AT_FDCWD = -100;
const RENAME_EXCHANGE = 2;
const errnoNames = new Map(Object.entries(koffi.os.errno).map(([name, value]) => [value, name]));

const libc = koffi.load('libc.so.6');
const flock = libc.func('int flock(int fd, int operation)');
const renameat2 = libc.func(
  'int renameat2(int fromDir, const char *from, int toDir, const char *to, unsigned int flags)',
);

const openFlags: Record<FileOpenMode, number> = {
  read: constants.O_RDONLY,
  'read-write': constants.O_RDWR,
  create: constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC,
  'create-exclusive': constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
};

/** braft's modes: files 0644, directories 0755. */
const fileMode = 0o644;
const directoryMode = 0o755;

class NodeFileHandle implements FileHandle {
  #fd: number;
  #direct: boolean;

  constructor(fd: number, direct: boolean) {
    this.#fd = fd;
    this.#direct = direct;
  }

  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      read(this.#fd, buffer, offset, length, position, (error, bytesRead) => {
        if (error) reject(error);
        else resolve(bytesRead);
      });
    });
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      try {
        done += await this.#writeSome(bytes, done, position + done);
      } catch (error) {
        if (!this.#direct || !isErrno(error, 'EINVAL')) throw error;
        await this.#leaveDirect();
        continue;
      }
      // What is left of a short write need not be whole blocks.
      if (this.#direct && done < bytes.length) await this.#leaveDirect();
    }
  }

  /** The same file through the page cache from now on. */
  async #leaveDirect(): Promise<void> {
    const buffered = await openAsync(`/proc/self/fd/${this.#fd}`, constants.O_RDWR);
    await closeAsync(this.#fd);
    this.#fd = buffered;
    this.#direct = false;
  }

  #writeSome(bytes: Uint8Array, offset: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      write(this.#fd, bytes, offset, bytes.length - offset, position, (error, written) => {
        if (error) reject(error);
        else resolve(written);
      });
    });
  }

  truncate(bytes: number): Promise<void> {
    return ftruncateAsync(this.#fd, bytes);
  }

  sync(): Promise<void> {
    return fsyncAsync(this.#fd);
  }

  async size(): Promise<number> {
    return (await fstatAsync(this.#fd)).size;
  }

  close(): Promise<void> {
    return closeAsync(this.#fd);
  }
}

async function openFile(path: string, mode: FileOpenMode, how?: OpenHow): Promise<FileHandle> {
  const flags = openFlags[mode] | (how?.synced === true ? constants.O_DSYNC : 0);
  if (how?.direct === true) {
    try {
      const fd = await openAsync(path, flags | constants.O_DIRECT, fileMode);
      return new NodeFileHandle(fd, true);
    } catch (error) {
      // The file may be there by now, but empty: an exclusive creation has happened.
      if (!isErrno(error, 'EINVAL')) throw error;
      if (mode === 'create-exclusive') await unlinkAsync(path).catch(() => {});
    }
  }
  return new NodeFileHandle(await openAsync(path, flags, fileMode), false);
}

async function stat(path: string): Promise<FileStat | null> {
  try {
    const found = await lstatAsync(path, { bigint: true });
    const kind = found.isFile() ? 'file' : found.isDirectory() ? 'directory' : 'other';
    return { kind, bytes: Number(found.size), device: found.dev, inode: found.ino };
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) return null;
    throw error;
  }
}

async function exchange(a: string, b: string): Promise<void> {
  if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) === 0) return;
  const code = errnoNames.get(koffi.errno()) ?? `errno ${koffi.errno()}`;
  if (['EINVAL', 'ENOSYS', 'ENOTSUP', 'EXDEV'].includes(code)) {
    throw fail('io.exchange-unsupported', { path: a, reason: code });
  }
  throw Object.assign(new Error(`${code}: renameat2 '${a}' <-> '${b}'`), { code });
}

/**
 * Only the sync goes through a thread: whoever syncs a directory has just changed a name in it, so
 * that opening it reads nothing, and each of three ways to a thread and back takes longer.
 */
async function syncDirectory(path: string): Promise<void> {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await fsyncAsync(fd);
  } finally {
    closeSync(fd);
  }
}

async function lock(
  path: string,
  kind: 'exclusive' | 'shared',
): Promise<PathLock | { readonly holder: string }> {
  const fd = openSync(path, constants.O_RDONLY);
  if (flock(fd, (kind === 'exclusive' ? LOCK_EX : LOCK_SH) | LOCK_NB) === 0) {
    return { release: async () => closeSync(fd) };
  }
  const code = errnoNames.get(koffi.errno());
  const holder = lockHolder(fd);
  closeSync(fd);
  if (code !== 'EWOULDBLOCK' && code !== 'EAGAIN') {
    throw Object.assign(new Error(`${code}: flock '${path}'`), { code });
  }
  return { holder };
}

/** The process that holds the file's lock, from /proc/locks (`dev` there is in hexadecimal). */
function lockHolder(fd: number): string {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  const hex = (value: bigint) => value.toString(16).padStart(2, '0');
  const place = `${hex(major)}:${hex(minor)}:${ino}`;
  try {
    for (const line of readFileSync('/proc/locks', 'utf8').split('\n')) {
      const fields = line.trim().split(/\s+/);
      if (fields[1] === 'FLOCK' && fields[5] === place) return describeProcess(Number(fields[4]));
    }
  } catch {
    return 'an unknown process (/proc/locks cannot be read)';
  }
  return 'an unknown process';
}

function describeProcess(pid: number): string {
  if (pid === process.pid) return `this process (pid ${pid})`;
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim();
    return `pid ${pid} (${command || readlinkSync(`/proc/${pid}/exe`)})`;
  } catch {
    return `pid ${pid}`;
  }
}

export const nodeFileLayer: FileLayer = {
  open: openFile,
  list: promisify(readdir) as (path: string) => Promise<string[]>,
  stat,
  makeDirectory: (path) => promisify(mkdir)(path, { mode: directoryMode }).then(() => {}),
  removeFile: promisify(unlink),
  removeDirectory: promisify(rmdir) as (path: string) => Promise<void>,
  rename: promisify(rename),
  exchange,
  syncDirectory,
  lock,
  realPath: promisify(realpath) as (path: string) => Promise<string>,
};

/** Where the bytes of an image go: a file, made whole or not at all, or a stream. */
import { randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import type { Writable } from 'node:stream';

import { fail } from '../../core/errors.ts';
import type { FileHandle, FileLayer, PathLock } from '../file-layer.ts';
import { StreamedFile } from '../streamed-file.ts';

export interface ImageSink {
  /** Takes the next bytes; they are the caller's again when it resolves. */
  write(bytes: Uint8Array): Promise<void>;
  /** The image is whole: makes it durable and visible, where the sink can. */
  finish(): Promise<void>;
  /** Lets go of what was written; nothing is visible. */
  abort(): Promise<void>;
}

/**
 * An image file. It is written under a temporary name beside `path`, fsynced and renamed; a crash
 * leaves no file at `path`, and the next export to it removes what was left.
 * @throws `instance.not-empty` when something is at `path`, then and at the end
 */
export async function fileSink(files: FileLayer, path: string): Promise<ImageSink> {
  await requireAbsent(files, path);
  await removeLeftovers(files, path);
  const temporary = `${path}.${randomBytes(6).toString('hex')}.partial`;
  const file = await files.open(temporary, 'create-exclusive', { direct: true });
  const lock = await files.lock(temporary, 'exclusive');
  if ('holder' in lock) {
    await file.close();
    throw fail('instance.locked', { action: 'write', instance: path, holder: lock.holder });
  }
  return new FileSink({ files, path, temporary, file, lock });
}

async function requireAbsent(files: FileLayer, path: string): Promise<void> {
  const found = await files.stat(path);
  if (found === null) return;
  const actual = `a ${found.kind} of ${found.bytes} bytes is there`;
  throw fail('instance.not-empty', { action: 'write image', instance: path, actual });
}

/** Temporary files of exports that died: nobody holds their lock. */
async function removeLeftovers(files: FileLayer, path: string): Promise<void> {
  const prefix = `${basename(path)}.`;
  for (const name of await files.list(dirname(path))) {
    const middle = name.slice(prefix.length, -'.partial'.length);
    if (!name.startsWith(prefix) || !name.endsWith('.partial') || !/^[0-9a-f]{12}$/.test(middle)) {
      continue;
    }
    const leftover = join(dirname(path), name);
    const lock = await files.lock(leftover, 'exclusive');
    if ('holder' in lock) continue;
    await files.removeFile(leftover);
    await lock.release();
  }
}

interface FileSinkParts {
  readonly files: FileLayer;
  readonly path: string;
  readonly temporary: string;
  readonly file: FileHandle;
  readonly lock: PathLock;
}

class FileSink implements ImageSink {
  readonly #parts: FileSinkParts;
  readonly #stream: StreamedFile;

  constructor(parts: FileSinkParts) {
    this.#parts = parts;
    this.#stream = new StreamedFile(parts.file);
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#stream.append(bytes);
  }

  async finish(): Promise<void> {
    const { files, path, temporary, file, lock } = this.#parts;
    await this.#stream.flush();
    await this.#stream.release();
    await file.sync();
    await file.close();
    await requireAbsent(files, path);
    await files.rename(temporary, path);
    await files.syncDirectory(dirname(path));
    await lock.release();
  }

  async abort(): Promise<void> {
    const { files, temporary, file, lock } = this.#parts;
    await this.#stream.release();
    await file.close();
    await files.removeFile(temporary);
    await lock.release();
  }
}

/** A stream such as stdout; `write` waits until the stream has taken the bytes. Does not end it. */
export function streamSink(stream: Writable): ImageSink {
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        stream.write(bytes, (error) => (error ? reject(error) : resolve()));
      }),
    finish: async () => {},
    abort: async () => {},
  };
}

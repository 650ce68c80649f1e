/** Where the bytes of an image come from. */
import { fail } from '../../core/errors.ts';
import type { FileHandle, FileLayer } from '../file-layer.ts';
import { buffersSpent } from '../spent-buffers.ts';
import { corrupt, preambleBytes, readPreamble } from './image-format.ts';

/** The bytes of one image in order; read once. */
export interface ImageBytes {
  /** Fills `target` with the next bytes; resolves to how many, fewer at the end alone. */
  read(target: Buffer): Promise<number>;
  close(): Promise<void>;
}

/** An image file; the first read opens it, and fails with `instance.missing` without one. */
export function fileBytes(files: FileLayer, path: string): ImageBytes {
  let opened: Promise<FileHandle> | null = null;
  let position = 0;
  return {
    read: async (target) => {
      const file = await (opened ??= openImage(files, path));
      let filled = 0;
      while (filled < target.length) {
        const rest = target.length - filled;
        const got = await file.read(target, filled, rest, position + filled);
        if (got === 0) break;
        filled += got;
      }
      position += filled;
      return filled;
    },
    close: async () => {
      const file = await opened?.catch(() => null);
      opened = null;
      await file?.close();
    },
  };
}

async function openImage(files: FileLayer, path: string): Promise<FileHandle> {
  const stat = await files.stat(path);
  if (stat === null) {
    throw fail('instance.missing', { instance: path, actual: 'there is no such file' });
  }
  if (stat.kind === 'directory') {
    throw fail('instance.missing', { instance: path, actual: 'it is a directory, no image' });
  }
  return files.open(path, 'read');
}

/** The pieces of a stream such as stdin. */
export function streamBytes(pieces: AsyncIterable<Uint8Array>): ImageBytes {
  const iterator = pieces[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array();
  return {
    read: async (target) => {
      let filled = 0;
      while (filled < target.length) {
        if (rest.length === 0) {
          const next = await iterator.next();
          if (next.done) break;
          rest = next.value;
          buffersSpent(rest.length);
        }
        const part = rest.subarray(0, target.length - filled);
        target.set(part, filled);
        filled += part.length;
        rest = rest.subarray(part.length);
      }
      return filled;
    },
    close: async () => {
      await iterator.return?.();
    },
  };
}

/**
 * Looks at the beginning, so that nothing is made for a file that is missing, or is no image. The
 * result has all of it, the beginning included; close it, whether it was read or not.
 * @throws `instance.missing`, `image.corrupt`, `image.unsupported-version`
 */
export async function beginImage(bytes: ImageBytes): Promise<ImageBytes> {
  let seen = Buffer.alloc(preambleBytes);
  try {
    await new ByteCursor(bytes).fill(seen);
    readPreamble(seen);
  } catch (error) {
    await bytes.close();
    throw error;
  }
  return {
    read: async (target) => {
      const again = seen.copy(target);
      seen = seen.subarray(again);
      return again + (await bytes.read(target.subarray(again)));
    },
    close: () => bytes.close(),
  };
}

/** Takes exact lengths, and knows the offset in the image. */
export class ByteCursor {
  readonly #bytes: ImageBytes;
  /** Bytes taken so far. */
  offset = 0;

  constructor(bytes: ImageBytes) {
    this.#bytes = bytes;
  }

  /** @throws `image.corrupt` when fewer bytes are left than `target` has */
  async fill(target: Buffer): Promise<void> {
    const got = await this.#bytes.read(target);
    this.offset += got;
    if (got < target.length) throw corrupt(this.offset, 'it ends before it is whole');
  }

  async atEnd(): Promise<boolean> {
    return (await this.#bytes.read(Buffer.alloc(1))) === 0;
  }

  close(): Promise<void> {
    return this.#bytes.close();
  }
}

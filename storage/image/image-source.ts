/** Where the bytes of an image come from. */
import { fail } from '../../core/errors.ts';
import type { FileLayer } from '../file-layer.ts';
import { buffersSpent } from '../spent-buffers.ts';
import { corrupt, preambleBytes, readPreamble } from './image-format.ts';
import { prefetch } from './prefetch.ts';

/** The bytes of one image in order, in pieces of any size; read once. */
export type ImageBytes = AsyncIterable<Uint8Array>;

/** Piece size of a file: large reads, while a piece and the one read ahead stay small. */
const pieceBytes = 1024 * 1024;

/**
 * The bytes of an image file, one piece read ahead.
 * @throws `instance.missing`
 */
export async function* fileBytes(files: FileLayer, path: string): AsyncGenerator<Buffer> {
  const stat = await files.stat(path);
  if (stat === null) {
    throw fail('instance.missing', { instance: path, actual: 'there is no such file' });
  }
  if (stat.kind === 'directory') {
    throw fail('instance.missing', { instance: path, actual: 'it is a directory, no image' });
  }
  yield* prefetch(readPieces(files, path));
}

async function* readPieces(files: FileLayer, path: string): AsyncGenerator<Buffer> {
  const file = await files.open(path, 'read');
  try {
    for (let position = 0; ;) {
      const piece = Buffer.allocUnsafeSlow(pieceBytes);
      const got = await file.read(piece, 0, piece.length, position);
      if (got === 0) return;
      position += got;
      yield piece.subarray(0, got);
    }
  } finally {
    await file.close();
  }
}

/** An image whose beginning has been seen; {@link close} it, whether it was read or not. */
export interface BegunImage {
  /** All of it, the beginning included. */
  readonly bytes: ImageBytes;
  close(): Promise<void>;
}

/**
 * Looks at the beginning, so that nothing is made for a file that is missing, or is no image.
 * @throws `instance.missing`, `image.corrupt`, `image.unsupported-version`
 */
export async function beginImage(bytes: ImageBytes): Promise<BegunImage> {
  const iterator = bytes[Symbol.asyncIterator]();
  const close = async () => {
    await iterator.return?.();
  };
  let seen = Buffer.alloc(0);
  try {
    while (seen.length < preambleBytes) {
      const next = await iterator.next();
      if (next.done) throw endedAt(seen.length);
      seen = Buffer.concat([seen, next.value]);
    }
    readPreamble(seen.subarray(0, preambleBytes));
  } catch (error) {
    await close();
    throw error;
  }
  return { bytes: continued(seen, iterator), close };
}

async function* continued(
  seen: Uint8Array,
  iterator: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield seen;
  for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
    yield next.value;
  }
}

/** Takes exact lengths from pieces of any size, and knows the offset in the image. */
export class ByteCursor {
  readonly #iterator: AsyncIterator<Uint8Array>;
  #pieces: Buffer[] = [];
  #buffered = 0;
  #scratch = Buffer.alloc(0);
  /** Bytes taken so far. */
  offset = 0;

  constructor(bytes: ImageBytes) {
    this.#iterator = bytes[Symbol.asyncIterator]();
  }

  /**
   * The next `length` bytes.
   * @param use `passing`: the caller is done with them before it takes again, and memory is reused
   * @throws `image.corrupt` when fewer are left
   */
  async take(length: number, use: 'keeping' | 'passing' = 'keeping'): Promise<Buffer> {
    const oneHolds = (this.#pieces[0]?.length ?? 0) >= length;
    const taken = use === 'passing' && !oneHolds ? this.#gather(length) : this.#cut(length);
    const bytes = await taken;
    this.offset += length;
    return bytes;
  }

  /** Copies each piece as soon as it comes: it dies young. */
  async #gather(length: number): Promise<Buffer> {
    if (this.#scratch.length < length) this.#scratch = Buffer.allocUnsafeSlow(length);
    for (let filled = 0; filled < length;) {
      if (this.#buffered === 0 && !(await this.#pull())) throw endedAt(this.offset + filled);
      const available = Math.min(length - filled, this.#buffered);
      for (const part of this.#cutParts(available)) filled += part.copy(this.#scratch, filled);
    }
    return this.#scratch.subarray(0, length);
  }

  async atEnd(): Promise<boolean> {
    while (this.#buffered === 0) if (!(await this.#pull())) return true;
    return false;
  }

  async close(): Promise<void> {
    await this.#iterator.return?.();
  }

  async #pull(): Promise<boolean> {
    const next = await this.#iterator.next();
    if (next.done) return false;
    const { buffer, byteOffset, byteLength } = next.value;
    this.#pieces.push(Buffer.from(buffer, byteOffset, byteLength));
    this.#buffered += byteLength;
    buffersSpent(byteLength);
    return true;
  }

  /** A view where one piece holds all of it, else a copy. */
  async #cut(length: number): Promise<Buffer> {
    while (this.#buffered < length) {
      if (!(await this.#pull())) throw endedAt(this.offset + this.#buffered);
    }
    const parts = this.#cutParts(length);
    const [only] = parts;
    return only !== undefined && parts.length === 1 ? only : Buffer.concat(parts);
  }

  #cutParts(length: number): Buffer[] {
    const parts: Buffer[] = [];
    for (let missing = length; missing > 0;) {
      const piece = this.#pieces[0] ?? Buffer.alloc(0);
      const part = piece.subarray(0, missing);
      parts.push(part);
      missing -= part.length;
      if (part.length < piece.length) this.#pieces[0] = piece.subarray(part.length);
      else this.#pieces.shift();
    }
    this.#buffered -= length;
    return parts;
  }
}

function endedAt(offset: number): Error {
  return corrupt(offset, 'it ends before it is whole');
}

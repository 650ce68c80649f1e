/**
 * Sequential writing of bulk data past the page cache.
 *
 * A file that is opened `direct` takes only whole blocks from page-aligned memory: what is
 * appended is gathered in three aligned buffers, one being filled while the others are written, one
 * after the other. So its giver waits neither for a disk that is slow for a moment nor for the
 * file's making. The last block is padded with zeros and cut off again by a truncation. Where the
 * file system knows no O_DIRECT, the same writes go through its cache.
 */
import { directAlignment, type FileHandle } from './file-layer.ts';

const bufferBytes = 2 * 1024 * 1024;
const buffersPerFile = 3;
const wasmPageBytes = 64 * 1024;

interface Buffer {
  readonly bytes: Uint8Array;
  /** Resolves when it may be filled. */
  free: Promise<void>;
}

/** What no file uses: aligned memory costs address space, so it is used again. */
const idle: (readonly Buffer[])[] = [];
const maxIdle = 2;

/** Of JavaScript itself, but declared by TypeScript for browsers alone. */
declare const WebAssembly: {
  Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
};

/** A WebAssembly memory begins at a page: the way to aligned memory in plain Node. */
function alignedBuffers(): readonly Buffer[] {
  const pages = (buffersPerFile * bufferBytes) / wasmPageBytes;
  const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages });
  return Array.from({ length: buffersPerFile }, (_, i) => ({
    bytes: new Uint8Array(buffer, i * bufferBytes, bufferBytes),
    free: Promise.resolve(),
  }));
}

export class StreamedFile {
  readonly #file: Promise<FileHandle>;
  #buffers: readonly Buffer[] | null;
  /** Where the buffer that is being filled begins in the file: a multiple of its size. */
  #position = 0;
  #filled = 0;
  /** Everything begun: a failed write fails whatever comes after it. */
  #written: Promise<void> = Promise.resolve();

  /** `file`: empty, opened `direct`, or being opened so; the caller syncs and closes it. */
  constructor(file: FileHandle | Promise<FileHandle>) {
    this.#file = Promise.resolve(file);
    this.#file.catch(() => {});
    this.#buffers = idle.pop() ?? alignedBuffers();
  }

  /** Bytes appended. */
  get bytes(): number {
    return this.#position + this.#filled;
  }

  /**
   * Takes the bytes; they are the caller's again when it resolves. A failed write, or opening,
   * rejects here or in {@link flush}.
   */
  async append(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const { space } = this;
      const part = bytes.subarray(at, at + space.length);
      space.set(part);
      at += part.length;
      await this.advance(part.length);
    }
  }

  /** Where the next bytes go, at least one: they count when {@link advance} is told of them. */
  get space(): Uint8Array {
    return this.#filling().bytes.subarray(this.#filled);
  }

  /** Takes the first `bytes` of {@link space} as appended. A failed write rejects as there. */
  async advance(bytes: number): Promise<void> {
    this.#filled += bytes;
    if (this.#filled === bufferBytes) await this.#writeFull();
  }

  async #writeFull(): Promise<void> {
    const full = this.#filling();
    full.free = this.#write(full.bytes);
    this.#position += bufferBytes;
    this.#filled = 0;
    await this.#filling().free;
  }

  /** Writes the bytes where the buffer that is being filled begins, after all before it. */
  #write(bytes: Uint8Array): Promise<void> {
    const position = this.#position;
    const before = this.#written;
    this.#written = (async () => {
      await before;
      await (await this.#file).write(bytes, position);
    })();
    // Whoever waits for the buffer, or flushes, throws it; until then it is not unhandled.
    this.#written.catch(() => {});
    return this.#written;
  }

  /** Everything appended is in the file, whose size is {@link bytes}; not yet durable. */
  async flush(): Promise<void> {
    if (this.#filled > 0) await this.#writeRest();
    await this.#written;
  }

  async #writeRest(): Promise<void> {
    const { bytes } = this.#filling();
    const padded = Math.ceil(this.#filled / directAlignment) * directAlignment;
    bytes.fill(0, this.#filled, padded);
    await this.#write(bytes.subarray(0, padded));
    await (await this.#file).truncate(this.bytes);
  }

  /** Gives the buffers back when no write is under way; nothing can be appended any more. */
  async release(): Promise<void> {
    await this.#written.catch(() => {});
    const buffers = this.#buffers;
    this.#buffers = null;
    if (buffers === null || idle.length === maxIdle) return;
    for (const buffer of buffers) buffer.free = Promise.resolve();
    idle.push(buffers);
  }

  #filling(): Buffer {
    const turn = (this.#position / bufferBytes) % buffersPerFile;
    const buffer = this.#buffers?.[turn];
    if (buffer === undefined) throw new RangeError('the streamed file has been released');
    return buffer;
  }
}

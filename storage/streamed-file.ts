/**
 * Sequential writing of bulk data past the page cache.
 *
 * A file that is opened `direct` takes only whole blocks from page-aligned memory: what is
 * appended is gathered in two aligned buffers, one being filled while the other is written. The
 * last block is padded with zeros and cut off again by a truncation. Where the file system knows
 * no O_DIRECT, the same writes go through its cache.
 */
import { directAlignment, type FileHandle } from './file-layer.ts';

const bufferBytes = 2 * 1024 * 1024;
const wasmPageBytes = 64 * 1024;

interface Buffers {
  filling: Uint8Array;
  spare: Uint8Array;
}

/** Pairs that no file uses: aligned memory costs address space, so it is used again. */
const idle: Buffers[] = [];
const maxIdle = 2;

/** Of JavaScript itself, but declared by TypeScript for browsers alone. */
declare const WebAssembly: {
  Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
};

/** A WebAssembly memory begins at a page: the way to aligned memory in plain Node. */
function alignedBuffer(): Uint8Array {
  const pages = bufferBytes / wasmPageBytes;
  return new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer);
}

export class StreamedFile {
  readonly #file: FileHandle;
  #buffers: Buffers | null;
  /** Where the buffer that is being filled begins in the file: a multiple of its size. */
  #position = 0;
  #filled = 0;
  #writing: Promise<void> = Promise.resolve();

  /** `file`: empty, opened `direct`; the caller syncs and closes it. */
  constructor(file: FileHandle) {
    this.#file = file;
    this.#buffers = idle.pop() ?? { filling: alignedBuffer(), spare: alignedBuffer() };
  }

  /** Bytes appended. */
  get bytes(): number {
    return this.#position + this.#filled;
  }

  /**
   * Takes the bytes; they are the caller's again when it resolves. A failed write rejects here or
   * in {@link flush}.
   */
  async append(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const { filling } = this.#open();
      const part = bytes.subarray(at, at + bufferBytes - this.#filled);
      filling.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === bufferBytes) await this.#writeFull();
    }
  }

  /** Where the next bytes go, at least one: they count when {@link advance} is told of them. */
  get space(): Uint8Array {
    return this.#open().filling.subarray(this.#filled);
  }

  /** Takes the first `bytes` of {@link space} as appended. A failed write rejects as there. */
  async advance(bytes: number): Promise<void> {
    this.#filled += bytes;
    if (this.#filled === bufferBytes) await this.#writeFull();
  }

  async #writeFull(): Promise<void> {
    await this.#writing;
    const buffers = this.#open();
    const { filling, spare } = buffers;
    [buffers.filling, buffers.spare] = [spare, filling];
    this.#writing = this.#file.write(filling, this.#position);
    // The next append or flush throws it; until then it is not unhandled.
    this.#writing.catch(() => {});
    this.#position += bufferBytes;
    this.#filled = 0;
  }

  /** Everything appended is in the file, whose size is {@link bytes}; not yet durable. */
  async flush(): Promise<void> {
    await this.#writing;
    if (this.#filled === 0) return;
    const { filling } = this.#open();
    const padded = Math.ceil(this.#filled / directAlignment) * directAlignment;
    filling.fill(0, this.#filled, padded);
    await this.#file.write(filling.subarray(0, padded), this.#position);
    await this.#file.truncate(this.bytes);
  }

  /** Gives the buffers back when no write is under way; nothing can be appended any more. */
  async release(): Promise<void> {
    await this.#writing.catch(() => {});
    if (this.#buffers !== null && idle.length < maxIdle) idle.push(this.#buffers);
    this.#buffers = null;
  }

  #open(): Buffers {
    if (this.#buffers === null) throw new RangeError('the streamed file has been released');
    return this.#buffers;
  }
}

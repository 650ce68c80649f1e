/** From sections that are pushed to a snapshot writer that pulls. */
import { assert } from '../../core/errors.ts';
import type { SnapshotFile, SnapshotWriter } from '../contracts.ts';

/**
 * Hands the files of a stream, one after the other, to a snapshot writer that pulls their bytes.
 */
export class SnapshotPipe {
  readonly #writer: SnapshotWriter;
  #open: { pipe: BytePipe; written: Promise<void> } | null = null;
  #committed = false;

  constructor(writer: SnapshotWriter) {
    this.#writer = writer;
  }

  async begin(file: SnapshotFile): Promise<void> {
    await this.#endFile();
    const pipe = new BytePipe();
    const written = this.#writer.file({ path: file.path, userMeta: file.userMeta }, pipe.read());
    written.catch((error: unknown) => pipe.fail(error));
    this.#open = { pipe, written };
  }

  async push(bytes: Buffer): Promise<void> {
    assert(this.#open !== null, 'file bytes follow a file');
    await this.#open.pipe.push(bytes);
  }

  async commit(): Promise<void> {
    await this.#endFile();
    await this.#writer.prepare();
    this.#committed = true;
  }

  /**
   * After a failure: ends the open file; what was written is replaced by a later attempt. What was
   * committed stays: the checkpoint that failed afterwards may be on the disk, and name it.
   */
  async abandon(): Promise<void> {
    await this.#open?.pipe.push(null).catch(() => {});
    await this.#open?.written.catch(() => {});
    this.#open = null;
    if (!this.#committed) await this.#writer.abort().catch(() => {});
  }

  async #endFile(): Promise<void> {
    if (this.#open === null) return;
    const { pipe, written } = this.#open;
    this.#open = null;
    await pipe.push(null);
    await written;
  }
}

/** A channel of one piece: `push` resolves when the reader has taken it; null ends it. */
class BytePipe {
  #offer: ((bytes: Buffer | null) => void) | null = null;
  #waiting: { bytes: Buffer | null; taken: () => void; refused: (error: unknown) => void } | null =
    null;
  #failure: { error: unknown } | null = null;

  async push(bytes: Buffer | null): Promise<void> {
    if (this.#failure !== null) throw this.#failure.error;
    const offer = this.#offer;
    if (offer !== null) {
      this.#offer = null;
      return offer(bytes);
    }
    await new Promise<void>((taken, refused) => {
      this.#waiting = { bytes, taken, refused };
    });
  }

  fail(error: unknown): void {
    this.#failure = { error };
    this.#waiting?.refused(error);
    this.#waiting = null;
  }

  async *read(): AsyncGenerator<Buffer> {
    for (;;) {
      const bytes = await this.#take();
      if (bytes === null) return;
      yield bytes;
    }
  }

  #take(): Promise<Buffer | null> | Buffer | null {
    const waiting = this.#waiting;
    if (waiting === null) return new Promise((resolve) => (this.#offer = resolve));
    this.#waiting = null;
    waiting.taken();
    return waiting.bytes;
  }
}

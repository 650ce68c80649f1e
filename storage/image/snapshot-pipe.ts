/** From sections that are pushed to a snapshot writer that pulls. */
import { assert } from '../../core/errors.ts';
import { BytePipe } from '../byte-pipe.ts';
import type { PreparedSnapshot, SnapshotFile, SnapshotWriter } from '../contracts.ts';

/**
 * Hands the files of a stream, one after the other, to a snapshot writer that pulls their bytes.
 */
export class SnapshotPipe {
  readonly #writer: SnapshotWriter;
  #open: { pipe: BytePipe; written: Promise<void> } | null = null;
  #prepared = false;

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

  async prepare(): Promise<PreparedSnapshot> {
    await this.#endFile();
    const prepared = await this.#writer.prepare();
    this.#prepared = true;
    return prepared;
  }

  /**
   * After a failure: ends the open file; what was written is replaced by a later attempt. What was
   * prepared stays: an import's checkpoint that failed afterwards may be on the disk, and name it.
   */
  async abandon(): Promise<void> {
    await this.#open?.pipe.push(null).catch(() => {});
    await this.#open?.written.catch(() => {});
    this.#open = null;
    if (!this.#prepared) await this.#writer.abort().catch(() => {});
  }

  async #endFile(): Promise<void> {
    if (this.#open === null) return;
    const { pipe, written } = this.#open;
    this.#open = null;
    await pipe.push(null);
    await written;
  }
}

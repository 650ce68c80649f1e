/**
 * The epoch of a replica (CUT-3): raised, durably, by each `Open`, in a file of its own. It fences
 * clients: a session of an older epoch cannot write.
 */
import { dirname } from 'node:path';

import { fail } from '../core/errors.ts';
import type { FileLayer } from '../storage/file-layer.ts';
import { readWhole, writeDurably } from '../storage/files.ts';

export class EpochFile {
  readonly #files: FileLayer;
  readonly #path: string;
  #epoch: bigint;

  private constructor(files: FileLayer, path: string, epoch: bigint) {
    this.#files = files;
    this.#path = path;
    this.#epoch = epoch;
  }

  /** @throws `data.corrupt` */
  static async open(files: FileLayer, path: string): Promise<EpochFile> {
    const bytes = await readWhole(files, path, 64);
    await files.syncDirectory(dirname(path));
    const text = bytes?.toString('latin1') ?? '0\n';
    if (!/^\d{1,19}\n$/.test(text)) {
      throw fail('data.corrupt', { file: path, offset: 0, reason: 'it is no epoch' });
    }
    return new EpochFile(files, path, BigInt(text.trim()));
  }

  get epoch(): bigint {
    return this.#epoch;
  }

  /** The next epoch, durable when resolved. */
  async raise(): Promise<bigint> {
    const epoch = this.#epoch + 1n;
    await writeDurably(this.#files, this.#path, Buffer.from(`${epoch}\n`));
    this.#epoch = epoch;
    return epoch;
  }
}

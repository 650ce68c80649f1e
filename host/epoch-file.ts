/**
 * The epoch of a replica (CUT-3): raised, durably, by each `Open`, in a file of its own. It fences
 * clients: a session of an older epoch cannot write. Beside it stands the opener's name, if it gave
 * one: only who opened last may resume.
 */
import { dirname } from 'node:path';

import { fail } from '../core/errors.ts';
import type { FileLayer } from '../storage/file-layer.ts';
import { readWhole, writeDurably } from '../storage/files.ts';

/** An epoch, then the opener's name where it has one. */
const form = /^(\d{1,19})(?: ([A-Za-z0-9._-]{1,64}))?\n$/;

export class EpochFile {
  readonly #files: FileLayer;
  readonly #path: string;
  #epoch: bigint;
  #opener: string;

  private constructor(
    files: FileLayer,
    { path, epoch, opener }: { path: string; epoch: bigint; opener: string },
  ) {
    this.#files = files;
    this.#path = path;
    this.#epoch = epoch;
    this.#opener = opener;
  }

  /** @throws `data.corrupt` */
  static async open(files: FileLayer, path: string): Promise<EpochFile> {
    const bytes = await readWhole(files, path, 128);
    await files.syncDirectory(dirname(path));
    const [, epoch, opener = ''] = form.exec(bytes?.toString('latin1') ?? '0\n') ?? [];
    if (epoch === undefined) {
      throw fail('data.corrupt', { file: path, offset: 0, reason: 'it is no epoch' });
    }
    return new EpochFile(files, { path, epoch: BigInt(epoch), opener });
  }

  get epoch(): bigint {
    return this.#epoch;
  }

  /** Of the present epoch; empty when it gave no name. */
  get opener(): string {
    return this.#opener;
  }

  /** The next epoch, durable when resolved. */
  async raise(opener: string): Promise<bigint> {
    const epoch = this.#epoch + 1n;
    const text = opener === '' ? `${epoch}\n` : `${epoch} ${opener}\n`;
    await writeDurably(this.#files, this.#path, Buffer.from(text));
    this.#epoch = epoch;
    this.#opener = opener;
    return epoch;
  }
}

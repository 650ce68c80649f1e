/** Writes one snapshot's tree and makes all of it durable; its publication is the store's. */
import { dirname, join } from 'node:path';

import { fail } from '../../../core/errors.ts';
import type { SnapshotMeta } from '../../contracts.ts';
import type { FileLayer } from '../../file-layer.ts';
import { byPathBytes, parentsOf, SnapshotPaths } from '../../snapshot-path.ts';
import { decodeFileMeta } from '../../braft-payloads/configuration.ts';
import { encodeSnapshotTable } from './messages.ts';
import { writeProtobufFile } from './protobuf-file.ts';
import { auxiliaryToJson, writeSealed } from './sealed-json.ts';
import {
  localPathProblem,
  snapshotAuxiliaryFormat,
  snapshotAuxiliaryName,
  snapshotTableName,
  writeSnapshotTag,
  type StoredSnapshot,
} from './snapshot-place.ts';

export interface SnapshotWriterOptions {
  readonly files: FileLayer;
  /** An empty directory. */
  readonly path: string;
  readonly meta: SnapshotMeta;
  /** False once another writer has taken the place. */
  readonly isCurrent: () => boolean;
}

export class LocalSnapshotWriter {
  readonly #options: SnapshotWriterOptions;
  readonly #paths = new SnapshotPaths();
  readonly #made = new Set<string>();
  readonly #written: { path: string; userMeta: Uint8Array | null }[] = [];

  constructor(options: SnapshotWriterOptions) {
    this.#options = options;
  }

  /** @throws `snapshot.invalid-path`, `limit.exceeded` */
  async file(
    file: { readonly path: string; readonly userMeta: Uint8Array | null },
    bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void> {
    const { path, userMeta } = file;
    this.#requireCurrent();
    const reason = localPathProblem(path);
    if (reason !== null) throw fail('snapshot.invalid-path', { path, reason });
    requireFileMeta(path, userMeta);
    this.#paths.add(path);
    await this.#makeParents(path);
    await this.#write(join(this.#options.path, path), bytes);
    this.#written.push({ path, userMeta });
  }

  #requireCurrent(): void {
    if (this.#options.isCurrent()) return;
    throw fail('instance.closed', { action: 'write snapshot in', instance: this.#options.path });
  }

  async #makeParents(path: string): Promise<void> {
    for (const parent of parentsOf(path)) {
      if (this.#made.has(parent)) continue;
      await this.#options.files.makeDirectory(join(this.#options.path, parent));
      this.#made.add(parent);
    }
  }

  async #write(
    path: string,
    bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void> {
    const file = await this.#options.files.open(path, 'create-exclusive');
    try {
      let at = 0;
      for await (const piece of bytes) {
        await file.write(piece, at);
        at += piece.length;
      }
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** Everything durable, with the table that makes it a snapshot. */
  async prepare(tag: string | null): Promise<StoredSnapshot> {
    this.#requireCurrent();
    const { files, path, meta } = this.#options;
    for (const parent of this.#made) await files.syncDirectory(join(path, parent));
    if (meta.auxiliary.size > 0) {
      const value = auxiliaryToJson(meta.auxiliary);
      await writeSealed(files, join(path, snapshotAuxiliaryName), {
        format: snapshotAuxiliaryFormat,
        value,
      });
    }
    const written = this.#written.toSorted(byPathBytes);
    const table = written.map((file) => ({
      name: Buffer.from(file.path),
      fileMeta: file.userMeta === null ? null : Buffer.from(file.userMeta),
    }));
    const message = encodeSnapshotTable({ meta, files: table });
    await writeProtobufFile(files, join(path, snapshotTableName), message);
    if (tag !== null) await writeSnapshotTag(files, path, tag);
    await files.syncDirectory(dirname(path));
    return { path, meta, files: written };
  }
}

/** braft keeps a LocalFileMeta for each file, and could not load other bytes. */
function requireFileMeta(path: string, userMeta: Uint8Array | null): void {
  if (userMeta === null || decodeFileMeta(userMeta) !== null) return;
  throw fail('limit.exceeded', {
    family: 'local',
    what: "a snapshot file's user metadata",
    limit: "braft's LocalFileMeta",
    actual: `that of "${path}" is not`,
  });
}

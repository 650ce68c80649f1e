/**
 * The staging life of engine families. Entries go to the database as they come; the draft of range,
 * metadata and snapshot stays in memory. A checkpoint makes the entries durable, then writes the
 * draft with the progress to a file of its own: it is what a resumed import starts from. The marker
 * file only says that this is a staging place, and how far it is.
 */
import { join } from 'node:path';

import { assert, fail } from '../../core/errors.ts';
import type {
  FamilyLimits,
  InstanceUris,
  RaftMeta,
  SnapshotMeta,
  SnapshotWriter,
  StagingInstance,
  StagingProgress,
} from '../contracts.ts';
import { lastIndexOf, type EntryBatch } from '../entry-batch.ts';
import type { FileLayer } from '../file-layer.ts';
import { isErrno, writeDurably } from '../files.ts';
import { checkLimits } from '../mutation-plan.ts';
import { preparedRecord, type SnapshotTrees } from '../snapshot-tree.ts';
import { splitBatch } from '../split-batch.ts';
import { removeStagingMarker, writeStagingMarker } from '../staging-marker.ts';
import { cutChunks } from './chunk-cutting.ts';
import type { ChunkStore } from './chunk-store.ts';
import { encodeCheckpoint, encodeState, type EngineState } from './engine-records.ts';
import { WorkBehind } from '../work-behind.ts';

/** The last checkpoint, in the instance's directory; without meaning where no marker is. */
export const checkpointName = 'quorumshift-checkpoint.json';

/** Bytes of one write to the engine, one larger entry aside. */
const writeBytes = 1024 * 1024;

/** Writes under way while the next batch is made: with one, each side waits for the other. */
const maxWrites = 2;

export interface EngineStagingOptions {
  readonly uris: InstanceUris;
  readonly family: string;
  readonly limits: FamilyLimits;
  readonly files: FileLayer;
  /** The instance's directory, and the database's inside it. */
  readonly directory: string;
  readonly database: string;
  readonly store: ChunkStore;
  readonly trees: SnapshotTrees;
  readonly progress: StagingProgress | null;
  readonly state: EngineState;
  /** Closes the store, then lets go of the lock. */
  readonly release: () => Promise<void>;
}

export class EngineStaging implements StagingInstance {
  readonly uris: InstanceUris;
  readonly progress: StagingProgress | null;
  readonly #options: EngineStagingOptions;
  #draft: EngineState;
  /** Trees that the draft no longer names; the last checkpoint may still. */
  #superseded: number[] = [];
  readonly #writes = new WorkBehind();
  #closed = false;
  /** What failed on the way to the disk: nothing is made durable by this handle after it. */
  #poison: Error | null = null;

  constructor(options: EngineStagingOptions) {
    this.#options = options;
    this.uris = options.uris;
    this.progress = options.progress;
    this.#draft = options.state;
  }

  async begin(firstIndex: bigint): Promise<void> {
    this.#requireOpen('import into');
    this.#draft = { ...this.#draft, range: { first: firstIndex, last: firstIndex - 1n } };
  }

  async append(batch: EntryBatch): Promise<void> {
    this.#requireOpen('import into');
    const { range } = this.#draft;
    const after = batch.firstIndex - 1n;
    if (after !== range.last) {
      throw fail('log.gap', { instance: this.uris.log, last: range.last, after });
    }
    checkLimits(this.#options, batch);
    // Given on in parts, the engine's copies of a large batch stay small.
    for (const part of splitBatch(batch, writeBytes)) {
      await this.#orPoison(() => this.#writes.atMost(maxWrites - 1));
      this.#draft = { ...this.#draft, range: { ...range, last: lastIndexOf(part) } };
      const { store } = this.#options;
      const chunks = store.keepsPacked && part.packed !== undefined ? [part] : cutChunks(part);
      this.#writes.add(store.write({ chunks, records: new Map(), durable: false }));
    }
  }

  async setMeta(meta: RaftMeta): Promise<void> {
    this.#requireOpen('import into');
    this.#draft = { ...this.#draft, meta };
  }

  async snapshot(meta: SnapshotMeta): Promise<SnapshotWriter> {
    this.#requireOpen('import into');
    const writer = await this.#options.trees.begin(meta);
    return {
      file: (file, bytes) => this.#orPoison(() => writer.file(file, bytes)),
      prepare: async () => {
        const prepared = await this.#orPoison(() => writer.prepare());
        if (this.#draft.snapshot !== null) this.#superseded.push(this.#draft.snapshot.id);
        this.#draft = { ...this.#draft, snapshot: preparedRecord(prepared) };
        return prepared;
      },
      abort: () => writer.abort(),
    };
  }

  async checkpoint(progress: StagingProgress): Promise<void> {
    this.#requireOpen('checkpoint');
    await this.#orPoison(() => this.#checkpoint(progress));
  }

  async #checkpoint(progress: StagingProgress): Promise<void> {
    const { range } = this.#draft;
    assert(
      progress.firstIndex === range.first && progress.lastIndex === range.last,
      'a checkpoint names exactly the entries given so far',
    );
    await this.#writeDurably(new Map());
    const { files, directory, family, trees } = this.#options;
    const checkpoint = encodeCheckpoint({ ...this.#draft, progress });
    await writeDurably(files, join(directory, checkpointName), checkpoint);
    await writeStagingMarker(files, directory, { family, progress });
    for (const id of this.#superseded.splice(0)) await trees.retire(id);
  }

  async publish(): Promise<void> {
    this.#requireOpen('publish');
    await this.#orPoison(() => this.#publish());
  }

  async #publish(): Promise<void> {
    const { files, directory, store, release, trees } = this.#options;
    await this.#writeDurably(encodeState(this.#draft));
    await store.close();
    await removeStagingMarker(files, directory);
    await files.removeFile(join(directory, checkpointName)).catch(ignoreAbsent);
    for (const id of this.#superseded.splice(0)) await trees.retire(id);
    this.#closed = true;
    await release();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#writes.ended();
    await this.#options.release();
  }

  /** After a failure nothing more is taken (LOG-8): {@link close}, then stage the place again. */
  async #orPoison<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      this.#poison ??= error instanceof Error ? error : new Error(String(error));
      throw error;
    }
  }

  async #writeDurably(records: ReadonlyMap<string, Uint8Array | null>): Promise<void> {
    const { store, files, database } = this.#options;
    await this.#writes.atMost(0);
    await store.write({ chunks: [], records, durable: true });
    await files.syncDirectory(database);
  }

  #requireOpen(action: string): void {
    const instance = this.uris.log;
    if (this.#closed) throw fail('instance.closed', { action, instance });
    const cause = this.#poison;
    if (cause === null) return;
    throw fail('instance.poisoned', { instance, cause: cause.message }, { cause });
  }
}

function ignoreAbsent(error: unknown): void {
  if (!isErrno(error, 'ENOENT')) throw error;
}

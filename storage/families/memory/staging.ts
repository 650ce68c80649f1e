/**
 * The staging life of a memory instance: a draft beside the last checkpoint, published by one
 * assignment.
 */
import { assert, fail } from '../../../core/errors.ts';
import type {
  InstanceUris,
  PreparedSnapshot,
  RaftMeta,
  SnapshotMeta,
  SnapshotWriter,
  StagingInstance,
  StagingProgress,
} from '../../contracts.ts';
import { lastIndexOf, type EntryBatch } from '../../entry-batch.ts';
import { emptyContent, ownCopy, type MemoryContent } from './engine.ts';
import { MemorySnapshotWriter, preparedContent } from './snapshots.ts';

export interface MemoryCheckpoint {
  readonly progress: StagingProgress;
  readonly content: MemoryContent;
}

export interface MemoryStagingOptions {
  readonly uris: InstanceUris;
  readonly checkpoint: MemoryCheckpoint | null;
  readonly keep: (checkpoint: MemoryCheckpoint) => void;
  readonly publish: (content: MemoryContent) => void;
  readonly close: () => void;
}

export class MemoryStaging implements StagingInstance {
  readonly uris: InstanceUris;
  readonly progress: StagingProgress | null;
  readonly #options: MemoryStagingOptions;
  #draft: MemoryContent;
  #closed = false;

  constructor(options: MemoryStagingOptions) {
    this.#options = options;
    this.uris = options.uris;
    this.progress = options.checkpoint?.progress ?? null;
    this.#draft = options.checkpoint?.content ?? emptyContent;
  }

  async begin(firstIndex: bigint): Promise<void> {
    this.#change({ firstIndex, lastIndex: firstIndex - 1n, batches: [] });
  }

  async append(batch: EntryBatch): Promise<void> {
    const { lastIndex, batches } = this.#draft;
    if (batch.firstIndex !== lastIndex + 1n) {
      const after = batch.firstIndex - 1n;
      throw fail('log.gap', { instance: this.uris.log, last: lastIndex, after });
    }
    this.#change({ lastIndex: lastIndexOf(batch), batches: [...batches, ownCopy(batch)] });
  }

  async setMeta(meta: RaftMeta): Promise<void> {
    this.#change({ meta });
  }

  async snapshot(meta: SnapshotMeta): Promise<SnapshotWriter> {
    const writer = new MemorySnapshotWriter(meta);
    const commit = (prepared: PreparedSnapshot) =>
      this.#change({ snapshot: preparedContent(prepared) });
    return {
      file: (file, bytes) => writer.file(file, bytes),
      prepare: async () => {
        const prepared = await writer.prepare();
        commit(prepared);
        return prepared;
      },
      abort: () => writer.abort(),
    };
  }

  async checkpoint(progress: StagingProgress): Promise<void> {
    this.#requireOpen('checkpoint');
    assert(progress.lastIndex === this.#draft.lastIndex, 'a checkpoint names the last entry given');
    this.#options.keep({ progress, content: this.#draft });
  }

  async publish(): Promise<void> {
    this.#requireOpen('publish');
    this.#options.publish(this.#draft);
    await this.close();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.close();
  }

  #change(part: Partial<MemoryContent>): void {
    this.#requireOpen('import into');
    this.#draft = { ...this.#draft, ...part };
  }

  #requireOpen(action: string): void {
    if (this.#closed) throw fail('instance.closed', { action, instance: this.uris.log });
  }
}

/**
 * The staging life of a local instance. While the marker lies in the log directory it is none, for
 * us; until `log_meta` is there, written last, it is an empty log for braft, too. Segments are as
 * braft would have rolled them, all closed at the end: an image at rest is then length-checked by
 * name.
 */
import { join } from 'node:path';

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
import type { EntryBatch } from '../../entry-batch.ts';
import { removeTree } from '../../files.ts';
import { checkLimits, checkVote } from '../../mutation-plan.ts';
import { removeStagingMarker, writeStagingMarker } from '../../staging-marker.ts';
import { metaAddress, type OpenLocalOptions } from './engine.ts';
import { encodeLogMeta } from './messages.ts';
import { auxiliaryMetaName, MetaStore } from './meta-store.ts';
import { raftMetaPath } from './places.ts';
import { writeProtobufFile } from './protobuf-file.ts';
import { auxiliaryFromJson, auxiliaryToJson, readSealed, writeSealed } from './sealed-json.ts';
import { logMetaName } from './segment-name.ts';
import { snapshotIndex, temporaryName } from './snapshot-place.ts';
import { noSnapshots, SnapshotStore } from './snapshot-store.ts';
import { StagedLog } from './staged-log.ts';

/** Metadata that waits for publishing, where it goes to a LevelDB shared with other groups. */
const stagedMetaName = 'quorumshift-staged-meta';
const stagedMetaFormat = 'quorumshift-staged-meta/1';

interface StagedMetaJson {
  readonly term: string;
  readonly votedFor: string | null;
  readonly auxiliary: Readonly<Record<string, string>>;
}

export class LocalStaging implements StagingInstance {
  readonly uris: InstanceUris;
  readonly progress: StagingProgress | null;
  readonly wantsPayloadCrc32c = true;
  readonly #options: OpenLocalOptions;
  readonly #log: StagedLog;
  #closed = false;

  private constructor(options: OpenLocalOptions, log: StagedLog, progress: StagingProgress | null) {
    this.#options = options;
    this.#log = log;
    this.uris = options.uris;
    this.progress = progress;
  }

  /** The place is locked and its marker is there. Cuts back to the checkpoint. */
  static async resume(
    options: OpenLocalOptions,
    progress: StagingProgress | null,
  ): Promise<LocalStaging> {
    const { files, places, maxSegmentBytes } = options;
    // Left by a publish that did not end: with it braft would take what follows for a whole log.
    await removeTree(files, join(places.log, logMetaName));
    if (progress === null) await forgetAll(options);
    const log = new StagedLog({ files, directory: places.log, maxSegmentBytes });
    await log.resume(progress);
    return new LocalStaging(options, log, progress);
  }

  async begin(firstIndex: bigint): Promise<void> {
    this.#requireOpen('import into');
    const { limits, family } = this.#options;
    if (firstIndex < limits.minIndex || firstIndex > limits.maxIndex) {
      const limit = `within ${limits.minIndex}..${limits.maxIndex}`;
      throw fail('limit.exceeded', { family, what: 'an index', limit, actual: firstIndex });
    }
    this.#log.begin(firstIndex);
  }

  async append(batch: EntryBatch): Promise<void> {
    this.#requireOpen('import into');
    const { lastIndex } = this.#log;
    if (batch.firstIndex !== lastIndex + 1n) {
      const after = batch.firstIndex - 1n;
      throw fail('log.gap', { instance: this.uris.log, last: lastIndex, after });
    }
    checkLimits(this.#options, batch);
    await this.#log.append(batch);
  }

  async setMeta(meta: RaftMeta): Promise<void> {
    this.#requireOpen('import into');
    checkVote(this.#options, meta);
    const { files, places } = this.#options;
    if (places.meta.database === null) return this.#saveMeta(meta);
    const value: StagedMetaJson = {
      term: meta.term.toString(),
      votedFor: meta.votedFor && Buffer.from(meta.votedFor).toString('base64'),
      auxiliary: auxiliaryToJson(meta.auxiliary),
    };
    const path = join(places.log, stagedMetaName);
    await writeSealed(files, path, { format: stagedMetaFormat, value });
  }

  async #saveMeta(meta: RaftMeta): Promise<void> {
    const store = await MetaStore.open(metaAddress(this.#options));
    try {
      await store.save(meta);
    } finally {
      await store.close();
    }
  }

  async snapshot(meta: SnapshotMeta): Promise<SnapshotWriter> {
    this.#requireOpen('import into');
    const { files, places } = this.#options;
    if (places.snapshot === null) return noSnapshots.begin(meta);
    const store = new SnapshotStore({ files, directory: places.snapshot, current: null });
    const writer = await store.begin(meta);
    return {
      file: (file, bytes) => writer.file(file, bytes),
      prepare: () => publishAlone(store, writer),
      abort: () => writer.abort(),
    };
  }

  async checkpoint(progress: StagingProgress): Promise<void> {
    this.#requireOpen('checkpoint');
    const { files, places, family } = this.#options;
    const { firstIndex, lastIndex } = this.#log;
    assert(progress.lastIndex === lastIndex, 'a checkpoint names the last entry given');
    assert(progress.firstIndex === firstIndex, 'a checkpoint names the first index');
    await this.#log.sync();
    await writeStagingMarker(files, places.log, { family, progress });
  }

  async publish(): Promise<void> {
    this.#requireOpen('publish');
    const { files, places } = this.#options;
    await this.#log.finish();
    if (places.snapshot !== null) {
      await removeTree(files, join(places.snapshot, temporaryName));
      await files.syncDirectory(places.snapshot);
    }
    await this.#publishMeta();
    const message = encodeLogMeta(this.#log.firstIndex);
    await writeProtobufFile(files, join(places.log, logMetaName), message);
    await removeTree(files, join(places.log, stagedMetaName));
    await removeStagingMarker(files, places.log);
    await this.close();
  }

  async #publishMeta(): Promise<void> {
    const { files, places } = this.#options;
    const path = join(places.log, stagedMetaName);
    // Of the shape that setMeta wrote: its checksum is right.
    const json = (await readSealed(files, path, stagedMetaFormat)) as StagedMetaJson | null;
    if (json === null) return;
    await this.#saveMeta({
      term: BigInt(json.term),
      votedFor: json.votedFor === null ? null : Buffer.from(json.votedFor, 'base64'),
      auxiliary: auxiliaryFromJson(json.auxiliary),
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#log.close();
    await this.#options.release();
  }

  #requireOpen(action: string): void {
    if (this.#closed) throw fail('instance.closed', { action, instance: this.uris.log });
  }
}

/** Metadata and snapshots of an attempt that reached no checkpoint. */
async function forgetAll({ files, places }: OpenLocalOptions): Promise<void> {
  await removeTree(files, join(places.log, stagedMetaName));
  const meta = places.meta.directory ?? places.log;
  await removeTree(files, join(meta, auxiliaryMetaName));
  if (places.meta.directory !== null) await removeTree(files, raftMetaPath(places.meta.directory));
  await files.syncDirectory(meta);
  if (places.snapshot === null) return;
  for (const name of await files.list(places.snapshot)) {
    if (snapshotIndex(name) !== null) await removeTree(files, join(places.snapshot, name));
  }
  await files.syncDirectory(places.snapshot);
}

async function publishAlone(
  store: SnapshotStore,
  writer: SnapshotWriter,
): Promise<PreparedSnapshot> {
  const prepared = await writer.prepare();
  await store.publishAlone(prepared);
  return prepared;
}

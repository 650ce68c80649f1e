/**
 * Makes a storage family of an embedded database. One directory is one instance:
 *
 *     <directory>/db/                         the database's own files
 *     <directory>/snapshots/<id>/tree/        snapshots (snapshot-tree.ts)
 *     <directory>/quorumshift-staging.json    while an import has not ended (staging-marker.ts)
 *     <directory>/quorumshift-checkpoint.json its last checkpoint (engine-staging.ts)
 *
 * An instance is created as an import of nothing: under the marker, which is removed last. So a
 * crash at any point leaves nothing, a staging place, or a whole instance.
 */
import { join } from 'node:path';

import { fail } from '../../core/errors.ts';
import type {
  Family,
  FamilyLimits,
  Instance,
  InstanceUris,
  OpenContext,
  OpenMode,
  StagingInstance,
} from '../contracts.ts';
import type { FileLayer } from '../file-layer.ts';
import { readFence, refuseFenced } from '../fence-text.ts';
import { isErrno, makeDirectories, readWhole, removeTree } from '../files.ts';
import { lockInstance } from '../instance-lock.ts';
import { uriPath } from '../instance-uris.ts';
import { manageInstance } from '../managed-instance.ts';
import { initialMeta } from '../meta-rules.ts';
import { SnapshotTrees } from '../snapshot-tree.ts';
import {
  readStagingMarker,
  refuseStaging,
  removeStagingMarker,
  stagingMarkerName,
  writeStagingMarker,
} from '../staging-marker.ts';
import { ChunkEngine, durableState, endOfIndexes } from './chunk-engine.ts';
import type { ChunkStore, StoreOpenOptions } from './chunk-store.ts';
import { encodeState, type EngineState, type StagingCheckpoint } from './engine-records.ts';
import { checkpointName, EngineStaging } from './engine-staging.ts';

export interface EngineDefinition {
  /** Name and URI scheme. */
  readonly name: string;
  readonly formatVersion: string;
  readonly limits: FamilyLimits;
  openStore(options: StoreOpenOptions): Promise<ChunkStore>;
}

/** A snapshot of a million files has a record of some 200 MB. */
const maxCheckpointBytes = 512 * 1024 * 1024;

const emptyState: EngineState = {
  range: { first: 1n, last: 0n },
  meta: initialMeta,
  snapshot: null,
};

export function engineFamily(definition: EngineDefinition): Family {
  const { name, formatVersion, limits } = definition;
  return {
    name,
    schemes: [name],
    formatVersion,
    limits,
    expand: (uri) => ({ log: uri, meta: uri, snapshot: uri }),
    places: (uris) => [{ role: 'all', path: directoryOf(uris), shared: false }],
    relocate: (uris, move) => {
      const uri = `${name}://${move(directoryOf(uris))}`;
      return { ...uris, log: uri, meta: uri, snapshot: uri };
    },
    open: (uris, mode, context) => new EnginePlace(definition, uris, context).open(mode),
    stage: (uris, context) => new EnginePlace(definition, uris, context).stage(),
    occupied: (uris, { files }) => occupiedPlace(files, directoryOf(uris)),
  };
}

function directoryOf(uris: InstanceUris): string {
  if (uris.meta !== uris.log || uris.snapshot !== uris.log) {
    const reason = 'log, metadata and snapshot lie in one directory: give one URI';
    throw fail('uri.invalid', { uri: `${uris.log}, ${uris.meta}, ${uris.snapshot}`, reason });
  }
  return uriPath(uris.log);
}

async function occupiedPlace(files: FileLayer, path: string): Promise<string | null> {
  const stat = await files.stat(path);
  if (stat === null) return null;
  if (stat.kind === 'file') return (await readFence(files, path)) ? null : 'a file is there';
  const names = await files.list(path).catch((error: unknown) => {
    if (isErrno(error, 'ENOTDIR') || isErrno(error, 'ENOENT')) return null;
    throw error;
  });
  if (names === null) return 'something that is no directory is there';
  if (names.includes(stagingMarkerName)) return 'an unfinished import is there';
  const [name] = names.filter((found) => found !== `${stagingMarkerName}.tmp`);
  return name === undefined ? null : `"${name}" lies in it`;
}

/** One opening of one place; what it holds is let go of, in reverse order, when anything fails. */
class EnginePlace {
  readonly #definition: EngineDefinition;
  readonly #uris: InstanceUris;
  readonly #files: FileLayer;
  readonly #directory: string;
  readonly #database: string;
  readonly #trees: SnapshotTrees;
  readonly #held: (() => Promise<void>)[] = [];

  constructor(definition: EngineDefinition, uris: InstanceUris, context: OpenContext) {
    this.#definition = definition;
    this.#uris = uris;
    this.#files = context.files;
    this.#directory = directoryOf(uris);
    this.#database = join(this.#directory, 'db');
    this.#trees = new SnapshotTrees({
      files: context.files,
      directory: join(this.#directory, 'snapshots'),
      instance: uris.log,
    });
  }

  open(mode: OpenMode): Promise<Instance> {
    return this.#lettingGoOnFailure(async () =>
      mode === 'create' ? this.#create() : this.#openPresent(mode),
    );
  }

  stage(): Promise<StagingInstance> {
    return this.#lettingGoOnFailure(async () => {
      const marker = await this.#holdEmptyOrStaging('import into');
      const checkpoint = marker?.progress ? await this.#resume() : null;
      const store = checkpoint?.store ?? (await this.#openEmpty({ bulk: true }));
      await this.#trees.recover(checkpoint?.state.snapshot ?? null);
      return new EngineStaging({
        uris: this.#uris,
        family: this.#definition.name,
        limits: this.#definition.limits,
        files: this.#files,
        directory: this.#directory,
        database: this.#database,
        store,
        trees: this.#trees,
        progress: checkpoint?.state.progress ?? null,
        state: checkpoint?.state ?? emptyState,
        release: () => this.#letGo(),
      });
    });
  }

  async #create(): Promise<Instance> {
    const instance = this.#uris.log;
    const actual = await occupiedPlace(this.#files, this.#directory);
    if (actual !== null) throw fail('instance.not-empty', { action: 'create', instance, actual });
    await this.#holdEmptyOrStaging('create');
    const store = await this.#openEmpty({ bulk: false });
    await store.write({ chunks: [], records: encodeState(emptyState), durable: true });
    await this.#files.syncDirectory(this.#database);
    await this.#trees.recover(null);
    await removeStagingMarker(this.#files, this.#directory);
    return this.#manage(store, { state: emptyState, readOnly: false });
  }

  async #openPresent(mode: 'read-only' | 'read-write'): Promise<Instance> {
    const instance = this.#uris.log;
    const directory = await this.#files.stat(this.#directory);
    if (directory?.kind === 'file') {
      await refuseFenced(this.#files, { instance, path: this.#directory });
    }
    if (directory === null || directory.kind === 'file') {
      const actual = directory === null ? 'no such directory' : 'a file is there';
      throw fail('instance.missing', { instance, actual });
    }
    await this.#lock({ kind: mode === 'read-only' ? 'shared' : 'exclusive', action: 'open' });
    await refuseStaging(this.#files, { instance, directory: this.#directory });
    if ((await this.#files.stat(this.#database)) === null) {
      throw fail('instance.missing', { instance, actual: 'the directory holds no database' });
    }
    const store = await this.#openStore({ mode, bulk: false });
    const { decodeState } = await import('./decode-records.ts');
    const state = decodeState(this.#database, await this.#records(store));
    if (mode === 'read-write') {
      await removeTree(this.#files, join(this.#directory, checkpointName));
      await this.#trees.recover(state.snapshot);
    }
    return this.#manage(store, { state, readOnly: mode === 'read-only' });
  }

  #manage(store: ChunkStore, options: { state: EngineState; readOnly: boolean }): Instance {
    const { name, limits } = this.#definition;
    const { state, readOnly } = options;
    const engine = new ChunkEngine({
      store,
      trees: this.#trees,
      state,
      instance: this.#uris.log,
      file: this.#database,
      close: () => this.#letGo(),
    });
    return manageInstance(engine, {
      uris: this.#uris,
      family: name,
      limits,
      readOnly,
      state: durableState(state),
    });
  }

  /**
   * Holds the place and marks it as staging; its marker as it was, or undefined when it was empty.
   */
  async #holdEmptyOrStaging(
    action: string,
  ): Promise<Awaited<ReturnType<typeof readStagingMarker>>> {
    const stat = await this.#files.stat(this.#directory);
    if (stat === null) await makeDirectories(this.#files, this.#directory);
    const instance = this.#uris.log;
    if (stat?.kind === 'file') {
      throw fail('instance.not-empty', { action, instance, actual: 'a file is there' });
    }
    await this.#lock({ kind: 'exclusive', action });
    const marker = await readStagingMarker(this.#files, this.#directory);
    if (marker !== undefined) return marker;
    const actual = await occupiedPlace(this.#files, this.#directory);
    if (actual !== null) throw fail('instance.not-empty', { action, instance, actual });
    const { name } = this.#definition;
    await writeStagingMarker(this.#files, this.#directory, { family: name, progress: null });
    return undefined;
  }

  /** A new database in place of whatever an interrupted beginning left. */
  async #openEmpty(options: { bulk: boolean }): Promise<ChunkStore> {
    await removeTree(this.#files, this.#database);
    await makeDirectories(this.#files, this.#database);
    const store = await this.#openStore({ mode: 'create', ...options });
    const format = Buffer.from(this.#format);
    await store.write({ chunks: [], records: new Map([['format', format]]), durable: false });
    return store;
  }

  /** The database at its last checkpoint; entries written after it are removed. */
  async #resume(): Promise<{ store: ChunkStore; state: StagingCheckpoint }> {
    const path = join(this.#directory, checkpointName);
    const bytes = await readWhole(this.#files, path, maxCheckpointBytes);
    if (bytes === null) {
      const reason = 'the checkpoint that its marker names is missing';
      throw fail('data.corrupt', { file: path, offset: 0, reason });
    }
    const { decodeCheckpoint } = await import('./decode-records.ts');
    const state = decodeCheckpoint(path, bytes);
    const store = await this.#openStore({ mode: 'read-write', bulk: true });
    await this.#records(store);
    const remove = { from: state.range.last + 1n, to: endOfIndexes };
    await store.write({ remove, chunks: [], records: new Map(), durable: true });
    return { store, state };
  }

  async #openStore(options: Pick<StoreOpenOptions, 'mode' | 'bulk'>): Promise<ChunkStore> {
    const store = await this.#definition.openStore({ path: this.#database, ...options });
    this.#held.push(() => store.close());
    return store;
  }

  async #records(store: ChunkStore): Promise<ReadonlyMap<string, Buffer>> {
    const records = await store.records();
    const format = records.get('format')?.toString('utf8') ?? 'none';
    if (format !== this.#format) {
      const reason = `its format must be ${this.#format}: it is ${format}`;
      throw fail('data.corrupt', { file: this.#database, offset: 0, reason });
    }
    return records;
  }

  get #format(): string {
    return `quorumshift-${this.#definition.name}/${this.#definition.formatVersion}`;
  }

  async #lock(options: { kind: 'exclusive' | 'shared'; action: string }): Promise<void> {
    const path = this.#directory;
    const lock = await lockInstance(this.#files, { instance: this.#uris.log, path, ...options });
    this.#held.push(() => lock.release());
  }

  async #lettingGoOnFailure<Result>(open: () => Promise<Result>): Promise<Result> {
    try {
      return await open();
    } catch (error) {
      try {
        await this.#letGo();
      } catch (cause) {
        throw new AggregateError([error, cause], String(error), { cause });
      }
      throw error;
    }
  }

  /** Lets go of everything, the lock last; then throws what failed, if anything did. */
  async #letGo(): Promise<void> {
    const failures: unknown[] = [];
    for (const release of this.#held.splice(0).toReversed()) {
      await release().catch((error: unknown) => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  }
}

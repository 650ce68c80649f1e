/** Opens a local instance: for reading, as braft sees it and without a trace; or for writing. */
import { join } from 'node:path';

import { fail } from '../../../core/errors.ts';
import type {
  DurableState,
  FamilyLimits,
  Instance,
  InstanceUris,
  ReadOptions,
  SnapshotStorage,
} from '../../contracts.ts';
import type { FileLayer } from '../../file-layer.ts';
import { makeDirectories } from '../../files.ts';
import {
  manageInstance,
  type ManagedInstanceOptions,
  type StoreEngine,
} from '../../managed-instance.ts';
import { loadLog, requireWritable, type LoadedLog } from './load-log.ts';
import { readIntent, withIntent, type LogIntent } from './log-intent.ts';
import { readLog, type ReadableLog } from './log-reader.ts';
import { LogWriter } from './log-writer.ts';
import { loadMeta, MetaStore, type MetaAddress } from './meta-store.ts';
import { isDirectory, occupiedPlaces } from './place-state.ts';
import type { LocalPlaces } from './places.ts';
import { logMetaName } from './segment-name.ts';
import { findSnapshots, requireVisible } from './snapshot-place.ts';
import { noSnapshots, SnapshotStore, unreadableSnapshot } from './snapshot-store.ts';
import { rewriteFile, syncFile, syncTree } from './sync-tree.ts';

export interface OpenLocalOptions {
  readonly files: FileLayer;
  readonly uris: InstanceUris;
  readonly places: LocalPlaces;
  readonly family: string;
  readonly limits: FamilyLimits;
  readonly maxSegmentBytes: number;
  /** Called once, last. */
  readonly release: () => Promise<void>;
}

export function metaAddress(options: OpenLocalOptions): MetaAddress {
  const { files, places, uris } = options;
  return { files, places, groupId: uris.groupId };
}

/** Changes not one byte, and reads also what braft reads with a warning. */
export async function openReadOnly(
  options: OpenLocalOptions & { readonly defersClosed: boolean },
): Promise<Instance> {
  const { files, places, defersClosed } = options;
  const intent = await readIntent(files, places.log);
  const log = withIntent(
    await loadLog(files, places.log, { forWriting: false, defersClosed }),
    intent,
  );
  if (!log.hasLogMeta) await requireSomething(options);
  await checkMetaDirectories(options);
  const meta = await loadMeta(metaAddress(options), null);
  const snapshots = await readOnlySnapshots(options);
  const readable: ReadableLog = {
    ...log,
    files,
    directory: places.log,
    generation: 0,
    settled: () => Promise.resolve(),
  };
  const engine: StoreEngine = {
    commit: () => Promise.reject(new Error('open read-only')),
    read: (from, to, how) => readLog(readable, { from, to, ...how }),
    snapshots: snapshots.storage,
    close: options.release,
  };
  // Compacted to nothing is used too: an index other than the first one says so.
  const isUsed = log.lastIndex >= log.firstIndex || log.firstIndex > 1n || snapshots.isPresent;
  const forgottenVote =
    isUsed && meta.stable === null
      ? ['there is no metadata: a node would start at term 1 and has forgotten its vote']
      : [];
  const warnings = [...log.warnings, ...meta.warnings, ...snapshots.warnings];
  return manage(engine, options, {
    readOnly: true,
    warnings,
    hazards: [...log.hazards, ...snapshots.warnings, ...forgottenVote],
    state: stateOf(log, { meta: meta.meta, snapshot: snapshots.current }),
  });
}

function manage(
  engine: StoreEngine,
  options: OpenLocalOptions,
  rest: Pick<ManagedInstanceOptions, 'readOnly' | 'warnings' | 'hazards' | 'state'>,
): Instance {
  const { uris, family, limits } = options;
  return manageInstance(engine, { uris, family, limits, ...rest });
}

function stateOf(
  log: Pick<LoadedLog, 'firstIndex' | 'lastIndex'>,
  rest: Pick<DurableState, 'meta' | 'snapshot'>,
): DurableState {
  return { firstIndex: log.firstIndex, lastIndex: log.lastIndex, ...rest };
}

/** A log directory without log_meta, where nothing else lies either, is no instance. */
async function requireSomething({ files, places, uris }: OpenLocalOptions): Promise<void> {
  if ((await occupiedPlaces(files, places, uris.groupId)) !== null) return;
  throw fail('instance.missing', { instance: uris.log, actual: 'its directories are empty' });
}

async function checkMetaDirectories({ files, places }: OpenLocalOptions): Promise<void> {
  for (const path of [places.meta.directory, places.meta.database]) {
    if (path !== null) await isDirectory(files, path);
  }
}

async function readOnlySnapshots({ files, places }: OpenLocalOptions) {
  if (places.snapshot === null) {
    return { storage: noSnapshots, current: null, warnings: [], isPresent: false };
  }
  const { current, warnings, fault } = await findSnapshots(files, places.snapshot);
  if (fault !== null) {
    const storage = unreadableSnapshot(fault);
    return { storage, current: null, warnings, isPresent: true };
  }
  const storage: SnapshotStorage = new SnapshotStore({
    files,
    directory: places.snapshot,
    current,
  });
  const isPresent = current !== null;
  return { storage, current: current?.meta ?? null, warnings, isPresent };
}

/** The instance must be there; repairs what a crash left, durably, once nothing is refused. */
export async function openForWriting(options: OpenLocalOptions): Promise<Instance> {
  const { files, places } = options;
  await checkMetaDirectories(options);
  const loaded = await loadLog(files, places.log, { forWriting: true });
  if (!loaded.hasLogMeta) await requireSomething(options);
  requireWritable(loaded, places.log);
  if (places.snapshot !== null)
    requireVisible(places.snapshot, await findSnapshots(files, places.snapshot));
  // Read before the log is repaired: of what is refused every byte stays.
  const intent = await readIntent(files, places.log);
  if (places.meta.database !== null) await makeDirectories(files, places.meta.database);
  const meta = await MetaStore.open(metaAddress(options));
  try {
    const log = await repairedLog(options, { loaded, intent });
    for (const path of [places.meta.directory, places.snapshot]) {
      if (path !== null) await makeDirectories(files, path);
    }
    if (places.meta.directory !== null) await syncTree(files, places.meta.directory);
    await meta.complete();
    const snapshots =
      places.snapshot === null ? null : await SnapshotStore.repaired(files, places.snapshot);
    const engine = new LocalEngine({ log, meta, snapshots, release: options.release });
    const parts = { meta: meta.loaded.meta, snapshot: snapshots?.currentMeta ?? null };
    const { warnings } = loaded;
    return manage(engine, options, { readOnly: false, warnings, state: stateOf(log, parts) });
  } catch (error) {
    await meta.close();
    throw error;
  }
}

async function repairedLog(
  options: OpenLocalOptions,
  { loaded, intent }: { loaded: LoadedLog; intent: LogIntent | null },
): Promise<LogWriter> {
  const { files, places, maxSegmentBytes } = options;
  const directory = places.log;
  await syncFile(files, join(directory, logMetaName));
  const log = new LogWriter({ files, directory, maxSegmentBytes }, loaded);
  await log.repair(loaded.repairs);
  const newest = log.segments.at(-1);
  if (newest?.open) await rewriteFile(files, newest.path);
  if (intent !== null) await log.complete(intent);
  return log;
}

class LocalEngine implements StoreEngine {
  readonly snapshots: SnapshotStorage;
  readonly #log: LogWriter;
  readonly #meta: MetaStore;
  readonly #store: SnapshotStore | null;
  readonly #release: () => Promise<void>;

  constructor(parts: {
    log: LogWriter;
    meta: MetaStore;
    snapshots: SnapshotStore | null;
    release: () => Promise<void>;
  }) {
    this.#log = parts.log;
    this.#meta = parts.meta;
    this.#store = parts.snapshots;
    this.snapshots = parts.snapshots ?? noSnapshots;
    this.#release = parts.release;
  }

  /** LOG-1's order; each part is durable before the next begins. */
  async commit(plan: Parameters<StoreEngine['commit']>[0]): Promise<void> {
    if (plan.snapshot !== undefined) await this.#store?.publish(plan.snapshot);
    if (plan.resetTo !== undefined) await this.#log.reset(plan.resetTo);
    if (plan.firstKept !== undefined) await this.#log.truncatePrefix(plan.firstKept);
    if (plan.lastKept !== undefined) await this.#log.truncateSuffix(plan.lastKept);
    if (plan.earlyMeta !== undefined) await this.#meta.save(plan.earlyMeta);
    if (plan.append.length > 0) await this.#log.append(plan.append);
    if (plan.meta !== undefined) await this.#meta.save(plan.meta);
  }

  read(from: bigint, to: bigint, options: Required<ReadOptions>) {
    return readLog(this.#log, { from, to, ...options });
  }

  async close(): Promise<void> {
    try {
      await this.#log.close();
    } finally {
      // Whoever opens it next must not be kept by a file that could not be closed.
      try {
        await this.#meta.close();
      } finally {
        await this.#release();
      }
    }
  }
}

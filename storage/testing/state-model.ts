/**
 * A second, naive statement of LOG-1 to LOG-7 on plain arrays: what every family's state is
 * compared with. It takes only legal mutations; refusals have cases of their own.
 */
import type {
  Instance,
  MetaUpdate,
  Mutation,
  RaftMeta,
  SnapshotMeta,
  SnapshotStorage,
} from '../contracts.ts';
import { batchOf, type LogEntry } from '../entry-batch.ts';
import { byPathBytes } from '../snapshot-path.ts';
import { dumpEntry, dumpFile, dumpMeta, dumpSnapshotMeta, type StateDump } from './state-dump.ts';

export interface ModelFile {
  readonly path: string;
  readonly content: Uint8Array;
  readonly userMeta: Uint8Array | null;
}

export interface ModelSnapshot {
  readonly meta: SnapshotMeta;
  readonly files: readonly ModelFile[];
}

/** A {@link Mutation} as data: its snapshot is still to be prepared. */
export interface ModelMutation {
  readonly snapshot?: ModelSnapshot;
  readonly reset?: bigint;
  readonly truncate?: NonNullable<Mutation['truncate']>;
  readonly entries?: { readonly after: bigint; readonly list: readonly LogEntry[] };
  readonly meta?: MetaUpdate;
}

export interface StateModel {
  readonly firstIndex: bigint;
  readonly entries: readonly LogEntry[];
  readonly meta: RaftMeta;
  readonly snapshot: ModelSnapshot | null;
}

export const emptyModel: StateModel = {
  firstIndex: 1n,
  entries: [],
  meta: { term: 1n, votedFor: null, auxiliary: new Map() },
  snapshot: null,
};

export function lastOf(model: StateModel): bigint {
  return model.firstIndex + BigInt(model.entries.length) - 1n;
}

export function applyToModel(model: StateModel, mutation: ModelMutation): StateModel {
  const snapshot = mutation.snapshot ?? model.snapshot;
  const log = applyToLog({ ...model, snapshot }, mutation);
  const meta = mutation.meta ? updateMeta(model.meta, mutation.meta) : model.meta;
  return { ...log, meta, snapshot };
}

function applyToLog(
  model: StateModel,
  mutation: ModelMutation,
): Pick<StateModel, 'firstIndex' | 'entries'> {
  let { firstIndex, entries } = model;
  if (mutation.reset !== undefined) [firstIndex, entries] = [mutation.reset, []];
  const { truncate } = mutation;
  if (truncate && 'firstKept' in truncate && truncate.firstKept > firstIndex) {
    firstIndex = truncate.firstKept;
    entries = entries.filter((entry) => entry.index >= firstIndex);
  }
  if (truncate && 'lastKept' in truncate) {
    entries = entries.filter((entry) => entry.index <= truncate.lastKept);
  }
  if (mutation.entries === undefined) return { firstIndex, entries };
  const { after, list } = mutation.entries;
  if (after > firstIndex + BigInt(entries.length) - 1n) [firstIndex, entries] = [after + 1n, []];
  const last = firstIndex + BigInt(entries.length) - 1n;
  return { firstIndex, entries: [...entries, ...list.filter((entry) => entry.index > last)] };
}

function updateMeta(stored: RaftMeta, update: MetaUpdate): RaftMeta {
  const auxiliary = new Map(stored.auxiliary);
  for (const [key, value] of update.auxiliary ?? []) {
    if (value === null) auxiliary.delete(key);
    else auxiliary.set(key, value);
  }
  const term = update.term ?? stored.term;
  const inherited = term > stored.term ? null : stored.votedFor;
  return { term, votedFor: update.votedFor === undefined ? inherited : update.votedFor, auxiliary };
}

export function dumpModel(model: StateModel): StateDump {
  return {
    firstIndex: model.firstIndex,
    lastIndex: lastOf(model),
    entries: model.entries.map(dumpEntry),
    meta: dumpMeta(model.meta),
    snapshot: model.snapshot && {
      meta: dumpSnapshotMeta(model.snapshot.meta),
      files: model.snapshot.files.toSorted(byPathBytes).map((file) => dumpFile(file, file.content)),
    },
  };
}

/** Prepares the mutation's snapshot, if any, and applies it. */
export async function applyToInstance(instance: Instance, mutation: ModelMutation): Promise<void> {
  const { snapshot, entries, ...rest } = mutation;
  const prepared = snapshot && (await prepareSnapshot(instance, snapshot));
  await instance.apply({
    ...rest,
    ...(prepared && { snapshot: prepared }),
    ...(entries && {
      entries: {
        after: entries.after,
        batches: entries.list.length === 0 ? [] : [batchOf(entries.list)],
      },
    }),
  });
}

export async function prepareSnapshot(
  instance: { readonly snapshots: Pick<SnapshotStorage, 'begin'> },
  snapshot: ModelSnapshot,
  tag?: string,
) {
  const writer = await instance.snapshots.begin(snapshot.meta);
  for (const { content, ...file } of snapshot.files) await writer.file(file, [content]);
  return writer.prepare(tag);
}

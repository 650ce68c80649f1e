/**
 * The named records that an engine family keeps beside its chunks, as JSON (int64 as strings, bytes
 * as base64):
 *
 *     format    text, such as "quorumshift-rocksdb/1"
 *     range     { first, last }                     with each append, truncation and reset
 *     meta      { term, votedFor, auxiliary }       with each save
 *     snapshot  { id, meta, files }                 the published tree is `snapshots/<id>/tree`
 *
 * The range is the truth: entries outside it do not count. While an import has not ended the state
 * of its last checkpoint lies instead in the file `quorumshift-checkpoint.json` beside the
 * database: the three and the progress. (A record that is written again and again among millions of
 * new chunks would make RocksDB sort all of them anew.)
 *
 * decode-records.ts reads them.
 */
import type { RaftMeta, SnapshotMeta, StagingProgress } from '../contracts.ts';
import type { SnapshotRecord } from '../snapshot-tree.ts';

export interface LogRange {
  readonly first: bigint;
  readonly last: bigint;
}

export interface EngineState {
  readonly range: LogRange;
  readonly meta: RaftMeta;
  readonly snapshot: SnapshotRecord | null;
}

export interface StagingCheckpoint extends EngineState {
  readonly progress: StagingProgress;
}

const base64 = (value: Uint8Array): string => Buffer.from(value).toString('base64');

function jsonMeta(meta: RaftMeta) {
  const votedFor = meta.votedFor && base64(meta.votedFor);
  return { term: meta.term.toString(), votedFor, auxiliary: jsonAuxiliary(meta.auxiliary) };
}

function jsonAuxiliary(map: ReadonlyMap<string, Uint8Array>): [string, string][] {
  return [...map].map(([key, value]) => [key, base64(value)]);
}

function jsonSnapshot({ id, meta, files }: SnapshotRecord) {
  return {
    id,
    meta: jsonSnapshotMeta(meta),
    files: files.map((file) => ({ ...file, userMeta: file.userMeta && base64(file.userMeta) })),
  };
}

function jsonSnapshotMeta(meta: SnapshotMeta) {
  return {
    lastIncludedIndex: meta.lastIncludedIndex.toString(),
    lastIncludedTerm: meta.lastIncludedTerm.toString(),
    peers: meta.peers,
    oldPeers: meta.oldPeers,
    auxiliary: jsonAuxiliary(meta.auxiliary),
  };
}

function jsonRange({ first, last }: LogRange) {
  return { first: first.toString(), last: last.toString() };
}

const encode = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

export function encodeRange(range: LogRange): Buffer {
  return encode(jsonRange(range));
}

export function encodeMeta(meta: RaftMeta): Buffer {
  return encode(jsonMeta(meta));
}

export function encodeSnapshot(record: SnapshotRecord): Buffer {
  return encode(jsonSnapshot(record));
}

/** Beside a tree that is prepared under a tag, and that no record names. */
export function encodePreparedTree(tag: string, record: SnapshotRecord): Buffer {
  return encode({ tag, record: jsonSnapshot(record) });
}

export function encodeCheckpoint(checkpoint: StagingCheckpoint): Buffer {
  const { range, meta, snapshot, progress } = checkpoint;
  return encode({
    range: jsonRange(range),
    meta: jsonMeta(meta),
    snapshot: snapshot && jsonSnapshot(snapshot),
    progress: {
      firstIndex: progress.firstIndex.toString(),
      lastIndex: progress.lastIndex.toString(),
      note: progress.note,
    },
  });
}

/** All records of the state, for publishing or creating an instance. */
export function encodeState(state: EngineState): Map<string, Buffer | null> {
  return new Map([
    ['range', encodeRange(state.range)],
    ['meta', encodeMeta(state.meta)],
    ['snapshot', state.snapshot && encodeSnapshot(state.snapshot)],
  ]);
}

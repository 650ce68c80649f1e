/**
 * braft's proto2 messages (package `braft`: local_storage.proto, raft.proto, file_service.proto),
 * encoded in field order as C++ does. Only what was there is written, so that a message read and
 * written again is the same to the byte; unknown fields are dropped, as braft drops them.
 */
import { decodeFileMeta } from '../../braft-payloads/configuration.ts';
import {
  allBytes,
  allTexts,
  bytesField,
  int64Field,
  lastInt64,
  parseMessage,
  textField,
} from '../../braft-payloads/protobuf.ts';

/**
 * LogPBMeta of file `log_meta`: { 1: first_log_index }. A missing or unparsable field reads as 0.
 */
export function decodeLogMeta(message: Uint8Array): { readonly firstLogIndex: bigint } {
  return { firstLogIndex: lastInt64(parseMessage(message).fields, 1) ?? 0n };
}

export function encodeLogMeta(firstLogIndex: bigint): Buffer {
  return int64Field(1, firstLogIndex);
}

/** StablePBMeta: { 1: term, 2: votedfor }. `votedFor` is null when the field is absent. */
export interface StableMeta {
  readonly term: bigint;
  readonly votedFor: Buffer | null;
}

export function decodeStableMeta(message: Uint8Array): StableMeta {
  const { fields } = parseMessage(message);
  return { term: lastInt64(fields, 1) ?? 0n, votedFor: allBytes(fields, 2).at(-1) ?? null };
}

export function encodeStableMeta(meta: { term: bigint; votedFor: Uint8Array }): Buffer {
  return Buffer.concat([int64Field(1, meta.term), bytesField(2, meta.votedFor)]);
}

/** SnapshotMeta: { 1: last_included_index, 2: last_included_term, 3: peers, 4: old_peers }. */
export interface BraftSnapshotMeta {
  readonly lastIncludedIndex: bigint;
  readonly lastIncludedTerm: bigint;
  readonly peers: readonly string[];
  readonly oldPeers: readonly string[];
}

/**
 * LocalSnapshotPbMeta.File: { 1: name, 2: meta }. `fileMeta` holds the serialized LocalFileMeta as
 * it is, null when absent (braft writes it always, even empty).
 */
export interface BraftSnapshotFile {
  readonly name: Buffer;
  readonly fileMeta: Buffer | null;
}

/** LocalSnapshotPbMeta of file `__raft_snapshot_meta`: { 1: meta, 2: files }. */
export interface SnapshotTable {
  readonly meta: BraftSnapshotMeta;
  readonly files: readonly BraftSnapshotFile[];
}

/**
 * Null when the message is malformed, or without a complete SnapshotMeta. The latter braft cannot
 * load; of the former it takes what precedes the fault, and so loses files of the snapshot.
 */
export function decodeSnapshotTable(message: Uint8Array): SnapshotTable | null {
  const { fields, whole } = parseMessage(message);
  const metas = allBytes(fields, 1);
  // Repeats of a message field are merged, which for serialized bytes is concatenation.
  const meta = metas.length > 0 ? decodeSnapshotMeta(Buffer.concat(metas)) : null;
  if (!whole || meta === null) return null;
  const files: BraftSnapshotFile[] = [];
  for (const bytes of allBytes(fields, 2)) {
    const file = decodeFile(bytes);
    if (file === null) return null;
    files.push(file);
  }
  return { meta, files };
}

function decodeSnapshotMeta(bytes: Buffer): BraftSnapshotMeta | null {
  const { fields, whole } = parseMessage(bytes);
  const lastIncludedIndex = lastInt64(fields, 1);
  const lastIncludedTerm = lastInt64(fields, 2);
  if (!whole || lastIncludedIndex === undefined || lastIncludedTerm === undefined) return null;
  const peers = allTexts(fields, 3);
  return { lastIncludedIndex, lastIncludedTerm, peers, oldPeers: allTexts(fields, 4) };
}

function decodeFile(bytes: Buffer): BraftSnapshotFile | null {
  const { fields, whole } = parseMessage(bytes);
  const name = allBytes(fields, 1).at(-1);
  const metas = allBytes(fields, 2);
  if (!whole || name === undefined || !metas.every((meta) => decodeFileMeta(meta) !== null)) {
    return null;
  }
  return { name, fileMeta: metas.length > 0 ? Buffer.concat(metas) : null };
}

export function encodeSnapshotTable(table: SnapshotTable): Buffer {
  const { meta, files } = table;
  const encodedMeta = Buffer.concat([
    int64Field(1, meta.lastIncludedIndex),
    int64Field(2, meta.lastIncludedTerm),
    ...meta.peers.map((peer) => textField(3, peer)),
    ...meta.oldPeers.map((peer) => textField(4, peer)),
  ]);
  const encodedFiles = files.map(({ name, fileMeta }) => {
    const parts = [bytesField(1, name), ...(fileMeta === null ? [] : [bytesField(2, fileMeta)])];
    return bytesField(2, Buffer.concat(parts));
  });
  return Buffer.concat([bytesField(1, encodedMeta), ...encodedFiles]);
}

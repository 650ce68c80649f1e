/**
 * What a snapshot directory holds. braft takes every name that begins `snapshot_<number>` for a
 * snapshot, and the largest number for the current one; a snapshot is written in `temp`. A tree
 * that a reader still has open after it was replaced waits under a name of ours that braft ignores.
 */
import { isUtf8 } from 'node:buffer';
import { join } from 'node:path';

import { fail, hasCode, QuorumshiftError } from '../../../core/errors.ts';
import type { Auxiliary, SnapshotFile, SnapshotMeta } from '../../contracts.ts';
import type { FileLayer } from '../../file-layer.ts';
import { isErrno } from '../../files.ts';
import { byPathBytes, snapshotPathFault } from '../../snapshot-path.ts';
import { indexReader, paddedIndex } from './padded-index.ts';
import { followedStat, isDirectory } from './place-state.ts';
import { decodeSnapshotTable, type SnapshotTable } from './messages.ts';
import { readProtobufFile } from './protobuf-file.ts';
import { auxiliaryFromJson, readSealed, writeSealed, type AuxiliaryJson } from './sealed-json.ts';

export const snapshotTableName = '__raft_snapshot_meta';
export const temporaryName = 'temp';
export const retiredPrefix = 'quorumshift-retired-';
/** Auxiliary of a snapshot, not listed in its table. */
export const snapshotAuxiliaryName = '__quorumshift_aux';
export const snapshotAuxiliaryFormat = 'quorumshift-snapshot-aux/1';
/** Tag under which a snapshot was prepared, written last; not listed in its table either. */
export const snapshotTagName = '__quorumshift_prepared';
const snapshotTagFormat = 'quorumshift-snapshot-prepared/1';

/** A table lists each file with its metadata; a million files have some hundred MB. */
const maxTableBytes = 1024 * 1024 * 1024;

export function snapshotName(index: bigint): string {
  return `snapshot_${paddedIndex(index)}`;
}

const readName = indexReader('snapshot_%');

/** The index that braft reads from the name; null when it is no snapshot's. */
export function snapshotIndex(name: string): bigint | null {
  return readName(name)?.[0] ?? null;
}

/** Names of the family's own at the top of a snapshot's tree. */
const ownNames = [snapshotTableName, snapshotAuxiliaryName, snapshotTagName].flatMap((n) => [
  n,
  `${n}.tmp`,
]);

/** FAM-10: what is wrong with the path of a snapshot's file, in words; null when it fits. */
export function localPathProblem(path: string): string | null {
  const own = ownNames.includes(path.split('/')[0] ?? '');
  return own ? 'the name is used by the storage itself' : snapshotPathFault(path);
}

/** A snapshot as it lies on disk. */
export interface StoredSnapshot {
  readonly path: string;
  readonly meta: SnapshotMeta;
  readonly files: readonly { readonly path: string; readonly userMeta: Uint8Array | null }[];
}

export interface FoundSnapshots {
  readonly current: StoredSnapshot | null;
  /** Every name that braft takes for a snapshot. */
  readonly names: readonly string[];
  readonly warnings: readonly string[];
  /**
   * Why the newest cannot be loaded: braft's storage opens, and its node does not start. Null where
   * it can be, and where braft sees none.
   */
  readonly fault: QuorumshiftError | null;
}

/** The snapshot that braft would open; changes nothing. */
export async function findSnapshots(files: FileLayer, directory: string): Promise<FoundSnapshots> {
  const present = await isDirectory(files, directory);
  if (!present) return { current: null, names: [], warnings: [], fault: null };
  const names = (await files.list(directory)).filter((name) => snapshotIndex(name) !== null);
  const newest = names.map((name) => snapshotIndex(name) ?? 0n).reduce(larger, 0n);
  if (newest <= 0n) return { current: null, names, warnings: [], fault: null };
  const path = join(directory, snapshotName(newest));
  const table = await readTable(files, path);
  if (table === null) {
    const warning = `${path} has no readable ${snapshotTableName}: braft sees no snapshot`;
    return { current: null, names, warnings: [warning], fault: null };
  }
  if (table instanceof QuorumshiftError) {
    const warning = `${table.message}: a node cannot load its snapshot, and does not start`;
    return { current: null, names, warnings: [warning], fault: table };
  }
  const auxiliary = await readAuxiliary(files, path);
  const current = { path, meta: { ...table.meta, auxiliary }, files: tableFiles(table) };
  return { current, names, warnings: indexWarning(path, newest, current.meta), fault: null };
}

/** @throws `data.corrupt` where one is there that braft would not see, or not load */
export function requireVisible(directory: string, found: FoundSnapshots): void {
  const { current, warnings, fault } = found;
  if (fault !== null) throw fault;
  const [reason] = warnings;
  if (current !== null || reason === undefined) return;
  throw fail('data.corrupt', { file: directory, offset: 0, reason });
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function indexWarning(path: string, named: bigint, meta: SnapshotMeta): string[] {
  if (meta.lastIncludedIndex === named) return [];
  return [`${path} says last included index ${meta.lastIncludedIndex}`];
}

/** Null where braft reports "no snapshot": the file is absent or short; an error where it fails. */
async function readTable(
  files: FileLayer,
  directory: string,
): Promise<SnapshotTable | QuorumshiftError | null> {
  const path = join(directory, snapshotTableName);
  const message = await readProtobufFile(files, path, maxTableBytes).catch((error: unknown) => {
    if (hasCode(error, 'data.corrupt')) return null;
    throw error;
  });
  if (message === null) return null;
  const table = decodeSnapshotTable(message);
  if (table !== null) return table;
  const reason = 'it holds no complete snapshot metadata';
  return fail('data.corrupt', { file: path, offset: 0, reason });
}

async function readAuxiliary(files: FileLayer, directory: string): Promise<Auxiliary> {
  const path = join(directory, snapshotAuxiliaryName);
  // Of the shape that the writer gave it: its checksum is right.
  const json = (await readSealed(files, path, snapshotAuxiliaryFormat)) as AuxiliaryJson | null;
  return auxiliaryFromJson(json ?? {});
}

/** Everything else of the tree is durable before. */
export function writeSnapshotTag(files: FileLayer, directory: string, tag: string): Promise<void> {
  const sealed = { format: snapshotTagFormat, value: tag };
  return writeSealed(files, join(directory, snapshotTagName), sealed);
}

/** A snapshot as it was prepared, with its files as they were measured. */
export interface TaggedSnapshot extends StoredSnapshot {
  readonly tag: string;
  readonly measured: readonly SnapshotFile[];
}

/** What `temp` holds, if it was prepared under a tag; null for what is not whole. */
export async function findPrepared(
  files: FileLayer,
  directory: string,
): Promise<TaggedSnapshot | null> {
  const path = join(directory, temporaryName);
  try {
    const tag = await readSealed(files, join(path, snapshotTagName), snapshotTagFormat);
    const table = tag === null ? null : await readTable(files, path);
    if (typeof tag !== 'string' || table === null || table instanceof QuorumshiftError) return null;
    const meta = { ...table.meta, auxiliary: await readAuxiliary(files, path) };
    const stored = { path, meta, files: tableFiles(table) };
    return { ...stored, tag, measured: await measureFiles(files, stored) };
  } catch (error) {
    // It was being removed.
    if (hasCode(error, 'data.corrupt') || hasCode(error, 'snapshot.file-missing')) return null;
    throw error;
  }
}

/** Bytes that are no UTF-8 become lone surrogates: names stay apart, and are refused as paths. */
function pathText(name: Buffer): string {
  if (isUtf8(name)) return name.toString('utf8');
  return name
    .toString('latin1')
    .replaceAll(/[\x80-\xff]/g, (byte) => String.fromCharCode(0xdc00 + byte.charCodeAt(0)));
}

/** Of two files with one name the last counts. */
function tableFiles(table: SnapshotTable): StoredSnapshot['files'] {
  const byName = new Map(table.files.map((file) => [pathText(file.name), file]));
  return [...byName].map(([path, file]) => ({ path, userMeta: file.fileMeta }));
}

function nullIfAbsent(error: unknown): null {
  if (isErrno(error, 'ENOENT')) return null;
  throw error;
}

/**
 * The listed files with their sizes.
 * @throws `snapshot.file-missing`, `snapshot.invalid-path`
 */
export async function measureFiles(
  files: FileLayer,
  snapshot: StoredSnapshot,
): Promise<SnapshotFile[]> {
  const measured: SnapshotFile[] = [];
  for (const { path, userMeta } of snapshot.files) {
    const reason = localPathProblem(path);
    if (reason !== null) throw fail('snapshot.invalid-path', { path, reason });
    // Links among them are followed, as by braft; one that leads nowhere is absent.
    const stat = await followedStat(files, join(snapshot.path, path)).catch(nullIfAbsent);
    if (stat?.kind !== 'file') {
      throw fail('snapshot.file-missing', { instance: snapshot.path, path });
    }
    measured.push({ path, userMeta, bytes: stat.bytes });
  }
  return measured.toSorted(byPathBytes);
}

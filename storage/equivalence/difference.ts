/** The earliest difference of each part of two states, in words (EQ-4). */
import { Blake3Hasher } from '@napi-rs/blake-hash';

import type { Difference } from '../../schemas/equivalence-report.ts';
import type { Auxiliary, RaftMeta, SnapshotMeta } from '../contracts.ts';
import { payloadAt, termAt, typeAt, type EntryBatch } from '../entry-batch.ts';
import { compareTextBytes } from '../image/canonical-encoding.ts';
import type { DigestedFile } from '../image/digest-tree.ts';
import type { StateDigest } from '../image/state-digester.ts';
import { normaliseVote, sameVote } from '../meta-rules.ts';

type Kind = Difference['kind'];

const remedies: Readonly<Record<Kind, string>> = {
  structural:
    'Do not cut over: something is missing on one side. Discard the target and copy again.',
  content:
    'Do not cut over: one side is altered or damaged. Discard the target and copy again; if it stays, compare the source with its peers.',
  freshness:
    'One side is behind: make sure that nothing writes to the source any more, then copy again.',
};

/** The first entry that differs, one to a batch; null where one side has none. */
export interface EntryPair {
  readonly index: bigint;
  readonly a: EntryBatch | null;
  readonly b: EntryBatch | null;
}

type Range = StateDigest['range'];

/**
 * The log's difference; null when there is none.
 * @param entry the first differing entry of the indexes that both ranges hold
 */
export function logDifference(
  ranges: { readonly a: Range; readonly b: Range },
  entry: EntryPair | null,
): Difference | null {
  const { a, b } = ranges;
  const texts = { a: rangeText(a), b: rangeText(b) };
  if (a.firstIndex !== b.firstIndex) {
    const index = a.firstIndex < b.firstIndex ? a.firstIndex : b.firstIndex;
    return atIndex('structural', { index, ...texts });
  }
  if (entry !== null) {
    const values = { a: entryText(entry.a), b: entryText(entry.b) };
    return atIndex('content', { index: entry.index, ...values });
  }
  if (a.lastIndex === b.lastIndex) return null;
  const shorter = a.lastIndex < b.lastIndex ? a.lastIndex : b.lastIndex;
  return atIndex('freshness', { index: shorter + 1n, ...texts });
}

function atIndex(kind: Kind, values: { index: bigint; a: string; b: string }): Difference {
  const { index, a, b } = values;
  const remedy = remedies[kind];
  return { part: 'log', kind, index: index.toString(), path: null, a, b, remedy };
}

function rangeText(range: Range): string {
  const { firstIndex, lastIndex } = range;
  return lastIndex < firstIndex ? `empty at ${firstIndex}` : `${firstIndex}..${lastIndex}`;
}

function entryText(entry: EntryBatch | null): string {
  if (entry === null) return 'absent';
  return `term ${termAt(entry, 0)}, type ${typeAt(entry, 0)}, payload ${bytesText(payloadAt(entry, 0))}`;
}

function bytesText(bytes: Uint8Array): string {
  const short = bytes.length <= 64 && /^[\x20-\x7e]*$/.test(Buffer.from(bytes).toString('latin1'));
  if (short) return `"${Buffer.from(bytes).toString('latin1')}"`;
  const hash = Blake3Hasher.deriveKey('quorumshift report value v1', bytes).toString('hex');
  return `of ${bytes.length} bytes (blake3 ${hash.slice(0, 16)})`;
}

interface Finding {
  readonly kind: Kind;
  readonly path: string;
  readonly a: string;
  readonly b: string;
}

function inPart(part: Difference['part'], finding: Finding | null): Difference | null {
  return finding && { part, index: null, ...finding, remedy: remedies[finding.kind] };
}

export function metaDifference(a: RaftMeta, b: RaftMeta): Difference | null {
  return inPart('metadata', findMeta(a, b));
}

function findMeta(a: RaftMeta, b: RaftMeta): Finding | null {
  if (a.term !== b.term) {
    return { kind: 'freshness', path: 'term', a: String(a.term), b: String(b.term) };
  }
  const votes = { a: normaliseVote(a.votedFor), b: normaliseVote(b.votedFor) };
  if (!sameVote(votes.a, votes.b)) {
    const kind = votes.a === null || votes.b === null ? 'freshness' : 'content';
    return { kind, path: 'votedFor', a: optionalText(votes.a), b: optionalText(votes.b) };
  }
  return findAuxiliary(a.auxiliary, b.auxiliary);
}

function optionalText(bytes: Uint8Array | null | undefined): string {
  return bytes === null || bytes === undefined ? 'none' : bytesText(bytes);
}

function findAuxiliary(a: Auxiliary, b: Auxiliary): Finding | null {
  for (const key of [...new Set([...a.keys(), ...b.keys()])].toSorted(compareTextBytes)) {
    const values = { a: a.get(key), b: b.get(key) };
    if (values.a !== undefined && values.b !== undefined && sameVote(values.a, values.b)) continue;
    const kind = values.a === undefined || values.b === undefined ? 'structural' : 'content';
    const path = `auxiliary/${key}`;
    return { kind, path, a: optionalText(values.a), b: optionalText(values.b) };
  }
  return null;
}

export function snapshotDifference(
  a: StateDigest['detail'],
  b: StateDigest['detail'],
): Difference | null {
  return inPart('snapshot', findSnapshot(a.snapshot, b.snapshot) ?? findFile(a.files, b.files));
}

function findSnapshot(a: SnapshotMeta | null, b: SnapshotMeta | null): Finding | null {
  if (a === null || b === null) {
    if (a === b) return null;
    const text = (meta: SnapshotMeta | null) =>
      meta === null ? 'none' : `at ${meta.lastIncludedIndex}`;
    return { kind: 'structural', path: '(snapshot)', a: text(a), b: text(b) };
  }
  for (const path of ['lastIncludedIndex', 'lastIncludedTerm', 'peers', 'oldPeers'] as const) {
    const texts = { a: String(a[path]), b: String(b[path]) };
    const same = JSON.stringify(printable(a[path])) === JSON.stringify(printable(b[path]));
    if (same) continue;
    return { kind: path === 'lastIncludedIndex' ? 'freshness' : 'content', path, ...texts };
  }
  return findAuxiliary(a.auxiliary, b.auxiliary);
}

function printable(value: bigint | readonly string[]): string | readonly string[] {
  return typeof value === 'bigint' ? value.toString() : value;
}

function findFile(a: readonly DigestedFile[], b: readonly DigestedFile[]): Finding | null {
  const files = {
    a: new Map(a.map((file) => [file.path, file])),
    b: new Map(b.map((file) => [file.path, file])),
  };
  for (const path of [...new Set([...files.a.keys(), ...files.b.keys()])].toSorted(
    compareTextBytes,
  )) {
    const pair = { a: files.a.get(path), b: files.b.get(path) };
    if (pair.a !== undefined && pair.b !== undefined && pair.a.hash.equals(pair.b.hash)) continue;
    const kind = pair.a === undefined || pair.b === undefined ? 'structural' : 'content';
    return { kind, path, a: fileText(pair.a), b: fileText(pair.b) };
  }
  return null;
}

function fileText(file: DigestedFile | undefined): string {
  if (file === undefined) return 'absent';
  const meta =
    file.userMeta === null ? 'no user metadata' : `user metadata ${bytesText(file.userMeta)}`;
  return `${file.bytes} bytes, ${meta}, hash ${file.hash.toString('hex').slice(0, 16)}`;
}

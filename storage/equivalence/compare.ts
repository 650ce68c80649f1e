/**
 * Compares two states by digests of what is read back from both (EQ-3), and where they differ finds
 * the earliest difference (EQ-4): the digest tree names the node of 4,096 entries, the entries in it
 * are then read again.
 */
import { assert } from '../../core/errors.ts';
import type { EquivalenceReport } from '../../schemas/equivalence-report.ts';
import type { Instance, RaftMeta, SnapshotMeta } from '../contracts.ts';
import { entryAt, type LogEntry } from '../entry-batch.ts';
import type { ImageBytes } from '../image/image-source.ts';
import type { StateDigest } from '../image/state-digester.ts';
import type { TransferOptions, TransferProgress } from '../image/state-stream.ts';
import { verifyImage } from '../image/transfer-image.ts';
import { sameVote, voteText } from '../meta-rules.ts';
import { digestInstance } from './state-digest.ts';

/** Entries under one node of the digest tree, aligned (docs/image-format.md). */
const nodeEntries = 4096n;

export type Comparison =
  | { readonly equal: true; readonly a: StateDigest; readonly b: StateDigest }
  | { readonly equal: false; readonly report: EquivalenceReport };

/**
 * Reads both wholly, at the same time.
 * @throws what reading throws; the signal's reason
 */
export async function compareInstances(
  a: Instance,
  b: Instance,
  options: TransferOptions = {},
): Promise<Comparison> {
  const progress = addedProgress(options);
  const [first, second] = await Promise.all([
    digestInstance(a, { ...options, ...progress(0) }),
    digestInstance(b, { ...options, ...progress(1) }),
  ]);
  if (first.root === second.root) return { equal: true, a: first, b: second };
  const report = await locate(first, second, (from, to) => firstDifferentEntry({ a, b, from, to }));
  return { equal: false, report };
}

/** Likewise, with an image in the place of the second instance. @throws `image.corrupt` and its kin */
export async function compareWithImage(
  a: Instance,
  image: ImageBytes,
  options: TransferOptions = {},
): Promise<Comparison> {
  const first = await digestInstance(a, options);
  const { digest: second } = await verifyImage(image, {
    ...(options.signal && { signal: options.signal }),
  });
  if (first.root === second.root) return { equal: true, a: first, b: second };
  // An image is read once: the node is named, its entries are not read again.
  const report = await locate(first, second, async (from, to) => ({
    index: from,
    first: `entries ${from}..${to}`,
    second: 'other entries',
  }));
  return { equal: false, report };
}

/** Both passes' bytes added up, for one line of progress. */
function addedProgress(options: TransferOptions) {
  const { onProgress } = options;
  const parts: [TransferProgress | null, TransferProgress | null] = [null, null];
  return (side: 0 | 1) =>
    onProgress && {
      onProgress: (progress: TransferProgress) => {
        parts[side] = progress;
        const other = parts[side === 0 ? 1 : 0];
        onProgress({
          ...progress,
          entriesDone: progress.entriesDone + (other?.entriesDone ?? 0),
          entriesTotal: progress.entriesTotal + (other?.entriesTotal ?? progress.entriesTotal),
          bytesDone: progress.bytesDone + (other?.bytesDone ?? 0),
        });
      },
    };
}

interface EntryDifference {
  readonly index: bigint;
  readonly first: string;
  readonly second: string;
}

type FindEntry = (from: bigint, to: bigint) => Promise<EntryDifference>;

/** The earliest difference: log first, then metadata, then snapshot. */
async function locate(
  a: StateDigest,
  b: StateDigest,
  findEntry: FindEntry,
): Promise<EquivalenceReport> {
  if (a.parts.log !== b.parts.log) return locateInLog(a, b, findEntry);
  if (a.parts.meta !== b.parts.meta) return metaReport(a.detail.meta, b.detail.meta);
  return snapshotReport(a, b);
}

async function locateInLog(
  a: StateDigest,
  b: StateDigest,
  findEntry: FindEntry,
): Promise<EquivalenceReport> {
  const { firstIndex, lastIndex } = a.range;
  if (firstIndex !== b.range.firstIndex) {
    return logReport('structural', null, rangeText(a), rangeText(b));
  }
  const shared = lastIndex < b.range.lastIndex ? lastIndex : b.range.lastIndex;
  const base = firstIndex / nodeEntries;
  for (const [i, node] of a.detail.nodes.entries()) {
    if (b.detail.nodes[i]?.equals(node) === true) continue;
    const start = (base + BigInt(i)) * nodeEntries;
    const from = start > firstIndex ? start : firstIndex;
    const end = start + nodeEntries - 1n;
    const to = end < shared ? end : shared;
    if (from > to) break;
    const found = await findEntry(from, to);
    if (found.index <= to && found.first !== found.second) {
      return logReport('content', found.index, found.first, found.second);
    }
    break;
  }
  return logReport('freshness', shared + 1n, rangeText(a), rangeText(b));
}

function rangeText(digest: StateDigest): string {
  return `${digest.range.firstIndex}..${digest.range.lastIndex}`;
}

/** The first entry in `from..to` that differs; one beyond `to` when none does. */
async function firstDifferentEntry(range: {
  readonly a: Instance;
  readonly b: Instance;
  readonly from: bigint;
  readonly to: bigint;
}): Promise<EntryDifference> {
  const { a, b, from, to } = range;
  const others = entriesOf(b, from, to);
  for await (const entry of entriesOf(a, from, to)) {
    const { value: other } = await others.next();
    assert(other !== undefined, 'both logs hold the compared range');
    const first = entryText(entry);
    const second = entryText(other);
    if (first !== second || !Buffer.from(entry.payload).equals(other.payload)) {
      return {
        index: entry.index,
        first,
        second: first === second ? `${second}, other bytes` : second,
      };
    }
  }
  return { index: to + 1n, first: '', second: '' };
}

async function* entriesOf(
  instance: Instance,
  from: bigint,
  to: bigint,
): AsyncGenerator<LogEntry, undefined> {
  for await (const batch of instance.read(from, to)) {
    for (let i = 0; i < batch.count; i += 1) yield entryAt(batch, i);
  }
  return undefined;
}

function entryText({ term, type, payload }: LogEntry): string {
  return `term ${term}, type ${type}, ${payload.length} bytes`;
}

function logReport(
  kind: EquivalenceReport['kind'],
  index: bigint | null,
  first: string,
  second: string,
): EquivalenceReport {
  const where = index === null ? 'the log' : `the log at index ${index}`;
  return report({
    part: 'log',
    kind,
    index: index?.toString() ?? null,
    path: null,
    first,
    second,
    where,
  });
}

function metaReport(a: RaftMeta, b: RaftMeta): EquivalenceReport {
  const meta = (path: string, first: string, second: string, kind: EquivalenceReport['kind']) =>
    report({
      part: 'metadata',
      kind,
      index: null,
      path,
      first,
      second,
      where: `metadata, ${path}`,
    });
  if (a.term !== b.term) return meta('term', `${a.term}`, `${b.term}`, 'freshness');
  if (!sameVote(a.votedFor, b.votedFor)) {
    return meta('votedFor', voteText(a.votedFor), voteText(b.votedFor), 'content');
  }
  return meta('auxiliary', auxiliaryText(a), auxiliaryText(b), 'content');
}

function auxiliaryText({ auxiliary }: Pick<RaftMeta, 'auxiliary'>): string {
  const texts = [...auxiliary].map(
    ([key, value]) => `${key}=${Buffer.from(value).toString('hex')}`,
  );
  return texts.toSorted().join(' ') || 'none';
}

function snapshotReport(a: StateDigest, b: StateDigest): EquivalenceReport {
  const snapshot = (
    path: string | null,
    kind: EquivalenceReport['kind'],
    [first, second]: readonly [string, string],
  ) => {
    const where = path === null ? 'the snapshot' : `the snapshot, "${path}"`;
    return report({ part: 'snapshot', kind, index: null, path, first, second, where });
  };
  const metas = [snapshotText(a.detail.snapshot), snapshotText(b.detail.snapshot)] as const;
  if (metas[0] !== metas[1]) return snapshot(null, 'structural', metas);
  const [ours, theirs] = [fileTexts(a), fileTexts(b)];
  const paths = [...new Set([...ours.keys(), ...theirs.keys()])].toSorted();
  for (const path of paths) {
    const texts = [ours.get(path) ?? 'absent', theirs.get(path) ?? 'absent'] as const;
    const kind = ours.has(path) && theirs.has(path) ? 'content' : 'structural';
    if (texts[0] !== texts[1]) return snapshot(path, kind, texts);
  }
  return snapshot(null, 'content', ['auxiliary', 'other auxiliary']);
}

function snapshotText(meta: SnapshotMeta | null): string {
  if (meta === null) return 'none';
  const { lastIncludedIndex, lastIncludedTerm, peers, oldPeers } = meta;
  return `at ${lastIncludedIndex}, term ${lastIncludedTerm}, peers ${peers.join(',')}, old peers ${oldPeers.join(',')}, auxiliary ${auxiliaryText(meta)}`;
}

function fileTexts(digest: StateDigest): Map<string, string> {
  return new Map(digest.detail.files.map(({ path, hash }) => [path, hash.toString('hex')]));
}

function report(
  given: Omit<EquivalenceReport, 'equal' | 'summary' | 'remedy'> & { readonly where: string },
): EquivalenceReport {
  const { where, ...rest } = given;
  return {
    equal: false,
    ...rest,
    summary: `${where} (${rest.kind}): ${rest.first} against ${rest.second}`.slice(0, 2000),
    remedy:
      rest.kind === 'freshness'
        ? 'One side is ahead: something wrote to it. Find the writer, then migrate again.'
        : 'Do not cut over. Check disk and memory of the machine, then migrate again.',
  };
}

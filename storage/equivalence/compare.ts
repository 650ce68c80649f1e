/**
 * Full comparison of two states (EQ-1, EQ-3): both are read back, digested, and held against each
 * other on the way, so that one pass gives both digests and, where they differ, the first entry.
 */
import { assert } from '../../core/errors.ts';
import type { Difference, EquivalenceReport } from '../../schemas/equivalence-report.ts';
import type { Instance } from '../contracts.ts';
import { canonicalBytes, lastIndexOf, sliceBatch, type EntryBatch } from '../entry-batch.ts';
import type { LeafHashes } from '../image/digest-tree.ts';
import { readImage, verifiedState } from '../image/image-reader.ts';
import type { ImageBytes } from '../image/image-source.ts';
import { prefetch } from '../image/prefetch.ts';
import { Pacer } from '../image/rate-limit.ts';
import type { StateDigest } from '../image/state-digester.ts';
import {
  readState,
  requireUnchanged,
  type TransferOptions,
  type TransferProgress,
} from '../image/state-stream.ts';
import { logDifference, metaDifference, snapshotDifference, type EntryPair } from './difference.ts';
import type { MadeLeaf, ReadBack } from './read-back.ts';
import { Side } from './side.ts';
import { checkStated } from './stated-payloads.ts';

export type Comparison =
  | {
      readonly equal: true;
      readonly a: StateDigest;
      readonly b: StateDigest;
      /** Read of both. */
      readonly bytesRead: number;
    }
  | { readonly equal: false; readonly report: EquivalenceReport };

export interface CompareOptions extends TransferOptions {
  /** Of these two as they are: what is in it is not read, what is found equal is added. */
  readonly readBack?: ReadBack;
}

/**
 * Reads all of both instances, at once. Progress and rate count the bytes of both.
 * @throws `image.source-changed`, `data.corrupt`, `snapshot.file-missing`; the signal's reason
 */
export async function compareInstances(
  a: Instance,
  b: Instance,
  { readBack, ...options }: CompareOptions = {},
): Promise<Comparison> {
  const before = { a: a.state(), b: b.state() };
  const isSameRange =
    before.a.firstIndex === before.b.firstIndex && before.a.lastIndex === before.b.lastIndex;
  // Of two that do not even hold the same indexes everything is read, for the report.
  const kept = isSameRange ? readBack : undefined;
  const known = kept && { known: kept.leaves.asNow(), knownFile: kept.knownFile };
  const made: MadeLeaf[] = [];
  const leafMade = (firstIndex: bigint, hash: Buffer) => void made.push({ firstIndex, hash });
  // Families keep checksums of different kinds: only one's own can be those of the other side.
  const statesPayloads = a.family === b.family;
  const sides = {
    a: new Side({
      name: a.uris.log,
      open: () => readState(a, { passing: true, ...known }),
      digest: { ...known, ...(kept && { leafMade }) },
    }),
    b: new Side({
      name: b.uris.log,
      open: () => readState(b, { passing: true, statesPayloads, ...known }),
      check: (entries) => checkStated(b, entries),
      digest: { ...known },
    }),
  };
  const comparison = await compareSides(sides, {
    ...options,
    passedEqual: () => kept?.addLeaves(made.splice(0)),
    ended: () => kept?.addFiles(sides.a.files, sides.b.files),
  });
  requireUnchanged(a, before.a);
  requireUnchanged(b, before.b);
  return comparison;
}

/**
 * Reads all of the instance and all of the image, the image once.
 * @throws `image.corrupt`, `image.unsupported-version`, `image.source-changed`, `data.corrupt`,
 *   `snapshot.file-missing`; the signal's reason
 */
export async function compareWithImage(
  instance: Instance,
  image: ImageBytes,
  options: TransferOptions = {},
): Promise<Comparison> {
  const before = instance.state();
  const sides = {
    a: new Side({
      name: instance.uris.log,
      open: () => readState(instance, { passing: true }),
    }),
    b: new Side({
      name: 'image',
      open: (digester) => verifiedState(prefetch(readImage(image, { passing: true })), digester),
    }),
  };
  const comparison = await compareSides(sides, options);
  requireUnchanged(instance, before);
  return comparison;
}

interface Sides {
  readonly a: Side;
  readonly b: Side;
}

interface CompareSidesOptions extends TransferOptions {
  /** All entries that both have passed so far are the same. */
  readonly passedEqual?: () => void;
  /** Nothing more is read, whether all of it was or not. */
  readonly ended?: () => void;
}

async function compareSides(sides: Sides, options: CompareSidesOptions): Promise<Comparison> {
  const { a, b } = sides;
  const meter = new PairMeter(a, b, options);
  try {
    const entry = await firstDifferentEntry(sides, meter, options.passedEqual);
    await Promise.all([drain(a, meter), drain(b, meter)]);
    meter.report('done');
    const digests = { a: a.digest(), b: b.digest() };
    const bytesRead = a.bytes + b.bytes;
    if (digests.a.root === digests.b.root) return { equal: true, ...digests, bytesRead };
    return { equal: false, report: reportOf(sides, digests, entry) };
  } finally {
    await Promise.all([a.close(), b.close()]);
    options.ended?.();
  }
}

/** Walks both logs to their ends; the first difference at an index that both hold. */
async function firstDifferentEntry(
  { a, b }: Sides,
  meter: PairMeter,
  passedEqual: () => void = () => {},
): Promise<EntryPair | null> {
  let found: EntryPair | null = null;
  for (;;) {
    const [left, right] = await Promise.all([a.entries(), b.entries()]);
    if (left === null && right === null) return found;
    if (left === null || right === null) {
      const longer = left === null ? b : a;
      await longer.pass((left ?? right)?.count ?? 0);
    } else if (left.firstIndex !== right.firstIndex) {
      await passBelow(left.firstIndex < right.firstIndex ? [a, left, right] : [b, right, left]);
    } else {
      found = await passBoth({ a, b, left, right }, found);
      if (found === null) passedEqual();
    }
    await meter.moved('log');
  }
}

/** Compares and passes what both hold. */
async function passBoth(
  { a, b, left, right }: { a: Side; b: Side; left: EntryBatch; right: EntryBatch },
  found: EntryPair | null,
): Promise<EntryPair | null> {
  const count = Math.min(left.count, right.count);
  const part = { a: sliceBatch(left, 0, count), b: sliceBatch(right, 0, count) };
  const equal = canonicalBytes(part.a).equals(canonicalBytes(part.b));
  const difference = found ?? (equal ? null : differenceIn(part.a, part.b));
  const shared: LeafHashes = new Map();
  await a.pass(count, equal ? { shared, twin: part.b } : null);
  await b.pass(count, equal ? { shared, twin: part.a } : null);
  return difference;
}

/** Passes what lies below the other side's first index. */
async function passBelow([side, lower, higher]: [Side, EntryBatch, EntryBatch]): Promise<void> {
  const gap = higher.firstIndex - lower.firstIndex;
  await side.pass(gap > BigInt(lower.count) ? lower.count : Number(gap));
}

function differenceIn(a: EntryBatch, b: EntryBatch): EntryPair | null {
  for (let i = 0; i < a.count; i += 1) {
    const pair = { a: sliceBatch(a, i, i + 1), b: sliceBatch(b, i, i + 1) };
    if (canonicalBytes(pair.a).equals(canonicalBytes(pair.b))) continue;
    // The memory of what passes is used again.
    return { index: lastIndexOf(pair.a), a: ownCopy(pair.a), b: ownCopy(pair.b) };
  }
  return null;
}

function ownCopy(entry: EntryBatch): EntryBatch {
  return { ...entry, bytes: Buffer.from(entry.bytes) };
}

async function drain(side: Side, meter: PairMeter): Promise<void> {
  while ((await side.next()) !== null) await meter.moved('snapshot');
}

/** Progress and pace of a comparison: bytes of both sides. */
class PairMeter {
  readonly #sides: readonly [Side, Side];
  readonly #options: TransferOptions;
  readonly #pacer: Pacer;
  #bytesDone = 0;

  constructor(a: Side, b: Side, options: TransferOptions) {
    this.#sides = [a, b];
    this.#options = options;
    const { rateLimit: limit, signal, giveWay } = options;
    this.#pacer = new Pacer({ limit, signal, giveWay });
  }

  async moved(phase: TransferProgress['phase']): Promise<void> {
    const before = this.#bytesDone;
    this.report(phase);
    await this.#pacer.moved(this.#bytesDone - before);
  }

  /** Entries of both sides, as the bytes are. */
  report(phase: TransferProgress['phase']): void {
    const [a, b] = this.#sides;
    this.#bytesDone = a.bytes + b.bytes;
    this.#options.onProgress?.({
      phase,
      entriesDone: a.entriesDone + b.entriesDone,
      entriesTotal: a.entriesTotal + b.entriesTotal,
      bytesDone: this.#bytesDone,
    });
  }
}

function reportOf(
  sides: { readonly a: Side; readonly b: Side },
  digests: { readonly a: StateDigest; readonly b: StateDigest },
  entry: EntryPair | null,
): EquivalenceReport {
  const { a, b } = digests;
  const found = [
    logDifference({ a: a.range, b: b.range }, entry),
    metaDifference(a.detail.meta, b.detail.meta),
    snapshotDifference(a.detail, b.detail),
  ];
  const differences = found.filter((difference) => difference !== null);
  const [first] = differences;
  assert(first !== undefined, 'different digests have a difference');
  return {
    format: 'quorumshift-equivalence-report/1',
    equal: false,
    summary: summarise(first),
    a: { name: sides.a.name, digest: a.root },
    b: { name: sides.b.name, digest: b.root },
    differences,
  };
}

function summarise(difference: Difference): string {
  const { part, kind, index, path, a, b } = difference;
  const place = index === null ? ` ${path}` : ` at index ${index}`;
  return `${part}${place} (${kind}): ${a} against ${b}`;
}

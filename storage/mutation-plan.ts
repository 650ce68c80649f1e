/**
 * LOG-1 to LOG-7 in one place: what a mutation means for a given state. Every family executes the
 * plan and adds nothing to its rules.
 */
import { fail } from '../core/errors.ts';
import type {
  DurableState,
  FamilyLimits,
  MetaUpdate,
  Mutation,
  PreparedSnapshot,
  RaftMeta,
  SnapshotMeta,
} from './contracts.ts';
import {
  canonicalBytes,
  entryHeaderBytes,
  EntryType,
  lastIndexOf,
  offsetAt,
  sliceBatch,
  termAt,
  typeAt,
  type EntryBatch,
} from './entry-batch.ts';
import { nextMeta, rawVoteKeys, sameVote } from './meta-rules.ts';

/** What to do, in this order (LOG-1) or in one transaction. Absent parts change nothing. */
export interface MutationPlan {
  readonly snapshot?: PreparedSnapshot;
  /** New first index of an emptied log; excludes `firstKept` and `lastKept`. */
  readonly resetTo?: bigint;
  /** Drops entries below; in `(first, last + 1]`, or above for an empty log at a new place. */
  readonly firstKept?: bigint;
  /** Drops entries above; in `[first - 1, last)`. */
  readonly lastKept?: bigint;
  /** Term, vote and vote keys, where entries follow and they changed; else absent. */
  readonly earlyMeta?: RaftMeta;
  /** Contiguous, starting at the end of the log as it then is. */
  readonly append: readonly EntryBatch[];
  readonly meta?: RaftMeta;
  /** As given: for an engine that gives it on to other instances. */
  readonly metaUpdate?: MetaUpdate;
  readonly next: DurableState;
}

export interface PlanContext {
  /** For messages. */
  readonly instance: string;
  readonly family: string;
  readonly limits: FamilyLimits;
  /** Entries already stored, `from..to` inclusive. */
  readonly stored: (from: bigint, to: bigint) => AsyncIterable<EntryBatch>;
  /** Of an entry that is stored; given where terms must not fall along the log (I5). */
  readonly termOf?: (index: bigint) => Promise<bigint>;
}

/** A term is an i64. */
const maxTerm = 2n ** 63n - 1n;

/** @throws the refusals of LOG-2 to LOG-7; nothing has changed then */
export async function planMutation(
  context: PlanContext,
  state: DurableState,
  mutation: Mutation,
): Promise<MutationPlan> {
  const { instance } = context;
  const snapshot = planSnapshot(instance, state, mutation);
  let range = planRange(context, state, mutation);
  let append: EntryBatch[] = [];
  if (mutation.entries !== undefined) {
    checkBatches(context, mutation.entries);
    range = followSnapshot(range, snapshot, mutation.entries.after);
    append = await dropReplayed(context, range, mutation.entries);
    await checkTerms(context, { range, snapshot }, append);
  }
  for (const batch of append) range = { ...range, last: lastIndexOf(batch) };
  const meta = mutation.meta && nextMeta(instance, state.meta, mutation.meta);
  if (meta !== undefined) checkVote(context, meta);
  if (meta !== undefined) checkTerm(context, meta);
  const early = meta && append.length > 0 ? earlyMeta(state.meta, meta) : undefined;
  const { first, last, ...change } = range;
  return {
    ...(mutation.snapshot && { snapshot: mutation.snapshot }),
    ...change,
    append,
    ...(early && { earlyMeta: early }),
    ...(meta && { meta }),
    ...(mutation.meta && { metaUpdate: mutation.meta }),
    next: { firstIndex: first, lastIndex: last, meta: meta ?? state.meta, snapshot },
  };
}

function planSnapshot(
  instance: string,
  state: DurableState,
  mutation: Mutation,
): SnapshotMeta | null {
  const given = mutation.snapshot?.meta;
  if (given === undefined) return state.snapshot;
  const stored = state.snapshot?.lastIncludedIndex ?? -1n;
  if (given.lastIncludedIndex < stored) {
    throw fail('snapshot.older', { instance, stored, given: given.lastIncludedIndex });
  }
  return given;
}

interface PlannedRange {
  readonly first: bigint;
  readonly last: bigint;
  readonly resetTo?: bigint;
  readonly firstKept?: bigint;
  readonly lastKept?: bigint;
}

function planRange(context: PlanContext, state: DurableState, mutation: Mutation): PlannedRange {
  let range: PlannedRange = { first: state.firstIndex, last: state.lastIndex };
  if (mutation.reset !== undefined) {
    const resetTo = mutation.reset;
    checkIndex(context, resetTo);
    range = { first: resetTo, last: resetTo - 1n, resetTo };
  }
  if (mutation.truncate === undefined) return range;
  const { truncate } = mutation;
  return 'firstKept' in truncate
    ? keepFrom(context, range, truncate.firstKept)
    : keepUpTo(context.instance, range, truncate.lastKept);
}

function keepFrom(context: PlanContext, range: PlannedRange, firstKept: bigint): PlannedRange {
  if (firstKept <= range.first) return range;
  checkIndex(context, firstKept);
  const last = firstKept > range.last ? firstKept - 1n : range.last;
  if (range.resetTo !== undefined) return { first: firstKept, last, resetTo: firstKept };
  return { first: firstKept, last, firstKept };
}

function keepUpTo(instance: string, range: PlannedRange, lastKept: bigint): PlannedRange {
  const floor = range.first - 1n;
  if (lastKept < floor) throw fail('log.truncate-below-first', { instance, lastKept, floor });
  return lastKept >= range.last ? range : { ...range, last: lastKept, lastKept };
}

/** LOG-4: an append that follows a snapshot beyond the log's end moves the empty log there. */
function followSnapshot(
  range: PlannedRange,
  snapshot: SnapshotMeta | null,
  after: bigint,
): PlannedRange {
  if (after <= range.last || snapshot?.lastIncludedIndex !== after) return range;
  return { first: after + 1n, last: after, resetTo: after + 1n };
}

function checkBatches(context: PlanContext, entries: NonNullable<Mutation['entries']>): void {
  let next = entries.after + 1n;
  for (const batch of entries.batches) {
    if (batch.count === 0 || batch.firstIndex !== next) {
      throw fail('log.invalid-batch', { reason: `a batch must begin at index ${next}` });
    }
    checkLimits(context, batch);
    next = lastIndexOf(batch) + 1n;
  }
}

/** FAM-10 for entries. @throws `limit.exceeded` naming the first entry that does not fit */
export function checkLimits(
  context: Pick<PlanContext, 'family' | 'limits'>,
  batch: EntryBatch,
): void {
  const { limits } = context;
  checkIndex(context, batch.firstIndex);
  checkIndex(context, lastIndexOf(batch));
  for (let i = 0; i < batch.count; i += 1) {
    const payloadBytes = offsetAt(batch, i + 1) - offsetAt(batch, i) - entryHeaderBytes;
    if (payloadBytes > limits.maxPayloadBytes) {
      throw beyondLimit(context, batch, i, 'a payload', `at most ${limits.maxPayloadBytes} bytes`);
    }
    if (payloadBytes > 0 && !limits.noOpPayload && typeAt(batch, i) === EntryType.NO_OP) {
      throw beyondLimit(context, batch, i, 'the payload of a NO_OP', 'empty');
    }
  }
}

function beyondLimit(
  context: Pick<PlanContext, 'family'>,
  batch: EntryBatch,
  i: number,
  what: string,
  limit: string,
): Error {
  const actual = `entry ${batch.firstIndex + BigInt(i)} has ${offsetAt(batch, i + 1) - offsetAt(batch, i) - entryHeaderBytes} bytes`;
  return fail('limit.exceeded', { family: context.family, what, limit, actual });
}

/** FAM-10 for votes. @throws `limit.exceeded` */
export function checkVote(
  { family, limits }: Pick<PlanContext, 'family' | 'limits'>,
  { votedFor }: Pick<RaftMeta, 'votedFor'>,
): void {
  const actual = votedFor && limits.votedFor(votedFor);
  if (actual === null) return;
  const [what, limit] = ['the vote', 'in the form that the family keeps'];
  throw fail('limit.exceeded', { family, what, limit, actual });
}

/** FAM-10 for terms: hashicorp/raft's are u64. @throws `limit.exceeded` */
function checkTerm({ family }: PlanContext, { term }: Pick<RaftMeta, 'term'>): void {
  if (term <= maxTerm) return;
  const [what, limit, actual] = ['the term', `at most ${maxTerm}`, term];
  throw fail('limit.exceeded', { family, what, limit, actual });
}

/**
 * I5 from one batch to the next, and from what is before them; within a batch it is its maker's.
 * @throws `log.term-falls`
 */
async function checkTerms(
  context: PlanContext,
  { range, snapshot }: { readonly range: PlannedRange; readonly snapshot: SnapshotMeta | null },
  append: readonly EntryBatch[],
): Promise<void> {
  const [first] = append;
  if (first === undefined || context.termOf === undefined) return;
  const before = first.firstIndex - 1n;
  let stored: bigint | null = null;
  if (before >= range.first) stored = await context.termOf(before);
  else if (snapshot?.lastIncludedIndex === before) stored = snapshot.lastIncludedTerm;
  for (const batch of append) {
    const given = termAt(batch, 0);
    if (stored !== null && given < stored) {
      const { instance } = context;
      throw fail('log.term-falls', { instance, index: batch.firstIndex, stored, given });
    }
    stored = termAt(batch, batch.count - 1);
  }
}

function checkIndex(context: Pick<PlanContext, 'family' | 'limits'>, index: bigint): void {
  const { minIndex, maxIndex } = context.limits;
  if (index < minIndex || index > maxIndex) {
    const limit = `within ${minIndex}..${maxIndex}`;
    throw fail('limit.exceeded', {
      family: context.family,
      what: 'an index',
      limit,
      actual: index.toString(),
    });
  }
}

/** Entries not yet stored; those that are must be identical (LOG-5). */
async function dropReplayed(
  context: PlanContext,
  range: PlannedRange,
  entries: NonNullable<Mutation['entries']>,
): Promise<EntryBatch[]> {
  const { after, batches } = entries;
  if (after > range.last || after < range.first - 1n) {
    throw fail('log.gap', { instance: context.instance, last: range.last, after });
  }
  const fresh: EntryBatch[] = [];
  for (const batch of batches) {
    const overlap = Number(minimum(range.last, lastIndexOf(batch)) - batch.firstIndex + 1n);
    if (overlap > 0) await compareStored(context, sliceBatch(batch, 0, overlap));
    if (overlap < batch.count) fresh.push(sliceBatch(batch, Math.max(overlap, 0), batch.count));
  }
  return fresh;
}

async function compareStored(context: PlanContext, given: EntryBatch): Promise<void> {
  const { instance } = context;
  for await (const stored of context.stored(given.firstIndex, lastIndexOf(given))) {
    const start = Number(stored.firstIndex - given.firstIndex);
    for (let i = 0; i < stored.count; i += 1) {
      const index = stored.firstIndex + BigInt(i);
      const storedTerm = termAt(stored, i);
      const givenTerm = termAt(given, start + i);
      if (storedTerm !== givenTerm) {
        throw fail('log.conflict', { instance, index, storedTerm, givenTerm });
      }
      const same = canonicalBytes(sliceBatch(stored, i, i + 1)).equals(
        canonicalBytes(sliceBatch(given, start + i, start + i + 1)),
      );
      if (!same) throw fail('log.identity-reused', { instance, index, term: givenTerm });
    }
  }
}

/** Term and vote of `next` with the other auxiliary of `stored`; undefined when neither changed. */
function earlyMeta(stored: RaftMeta, next: RaftMeta): RaftMeta | undefined {
  if (stored.term === next.term && sameVote(stored.votedFor, next.votedFor)) return undefined;
  const auxiliary = new Map(stored.auxiliary);
  for (const key of Object.values(rawVoteKeys)) {
    const value = next.auxiliary.get(key);
    if (value !== undefined) auxiliary.set(key, value);
  }
  return { term: next.term, votedFor: next.votedFor, auxiliary };
}

function minimum(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

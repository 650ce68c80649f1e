/**
 * Dual write: one engine over a primary and its mirror (DUAL-1 to DUAL-8). A mutation is durable
 * when both have it; a mirror that fails or is too slow is left by policy, which is durable before
 * the primary goes on alone.
 *
 * Both sides are given the same mutation at once. What publishes a snapshot or drops a prefix is
 * given to the primary first. What takes something away is named in the watermark before, durably,
 * and its name cleared after, so that recovery can complete it (recover-pair.ts). Without a mirror
 * the same holds, for the mirror that comes later.
 */
import { assert, fail, messageOf } from '../../core/errors.ts';
import type { Instance, Mutation, ReadOptions } from '../contracts.ts';
import { lastIndexOf, termAt, type EntryBatch } from '../entry-batch.ts';
import type { StoreEngine } from '../managed-instance.ts';
import type { MutationPlan } from '../mutation-plan.ts';
import { ChangeTracker } from './change-tracker.ts';
import { entryTerm } from './entry-term.ts';
import { LatencyWindow } from './latency-window.ts';
import { inTime } from './mirror-limit.ts';
import { PairSnapshots, preparedOn, tagOf } from './pair-snapshots.ts';
import { splitMutation, type PairWindow } from './pair-window.ts';
import { SlowMirrorWatch, type SlowMirrorLimit } from './slow-mirror.ts';
import type { LogPosition, NamedLogChange, Watermark } from './watermark.ts';

/** What is done about a mirror that fails or is too slow. */
export interface MirrorPolicy {
  /**
   * `detach`: the primary goes on alone, once {@link PairOptions.detached} has resolved. `fail`: the
   * operation fails, and nothing more is applied until the pair is opened again.
   */
  readonly onFailure: 'detach' | 'fail';
  /**
   * How long the mirror may take for one mutation, or for a part of a snapshot, beyond the primary;
   * null: for ever.
   */
  readonly limitMs: number | null;
  /** Of `detach`: when one that is slow for long is left; null or absent: never. */
  readonly slow?: SlowMirrorLimit | null;
}

/** How long appends take on each side, and how much longer on the mirror. */
export class PairLatencies {
  readonly primary: LatencyWindow = new LatencyWindow();
  readonly mirror: LatencyWindow = new LatencyWindow();
  readonly lag: LatencyWindow = new LatencyWindow();
}

export interface PairOptions {
  readonly primary: Instance;
  readonly mirror: Instance | null;
  readonly watermark: Watermark;
  readonly window: PairWindow;
  readonly policy: MirrorPolicy;
  /** Makes it durable that the mirror is left, before anything is acknowledged without it. */
  readonly detached: (cause: Error, mirror: Instance) => Promise<void>;
  /** Where they are noted; absent: nowhere but here. */
  readonly latencies?: PairLatencies;
  /** `leftIsClosed` of the pair that stood here before; absent: there was none. */
  readonly leftBefore?: Promise<void>;
}

export class PairEngine implements StoreEngine {
  readonly snapshots: PairSnapshots;
  readonly #options: PairOptions;
  readonly #trackers = new Set<ChangeTracker>();
  readonly #latencies: PairLatencies;
  /** Of the present mirror. */
  #slow: SlowMirrorWatch | null = null;
  #primary: Instance;
  #mirror: Instance | null;
  /** A mirror that was left, once every write given to it has returned. */
  #left: Promise<void>;
  #isClosed = false;
  #mirrorIsLate = false;

  constructor(options: PairOptions) {
    this.#options = options;
    this.#primary = options.primary;
    this.#mirror = options.mirror;
    this.#latencies = options.latencies ?? new PairLatencies();
    this.#left = options.leftBefore ?? Promise.resolve();
    this.#watchMirror();
    this.snapshots = new PairSnapshots({
      primary: () => this.#primary,
      mirror: () => this.#mirror,
      leave: (mirror, reason) => this.#leave(mirror, reason),
      limitMs: options.policy.limitMs,
    });
  }

  get watermark(): Watermark {
    return this.#options.watermark;
  }

  /**
   * Learns of every mutation from now on, until it is {@link untrack}ed.
   * @param like one that is tracking: as if begun with it
   */
  track(like?: ChangeTracker): ChangeTracker {
    const tracker = new ChangeTracker(like);
    this.#trackers.add(tracker);
    return tracker;
  }

  untrack(tracker: ChangeTracker): void {
    this.#trackers.delete(tracker);
  }

  /** Dual write begins: `mirror` holds what the primary holds, and nothing is being written. */
  attach(mirror: Instance): void {
    assert(this.#mirror === null, 'a pair has one mirror');
    assert(!this.snapshots.areWritten, 'no snapshot is being written');
    this.#mirror = mirror;
    this.#watchMirror();
  }

  #watchMirror(): void {
    const { onFailure, slow } = this.#options.policy;
    const isWatched = onFailure === 'detach' && slow !== null && slow !== undefined;
    this.#latencies.lag.clear();
    this.#latencies.mirror.clear();
    this.#slow = isWatched ? new SlowMirrorWatch(slow, this.#latencies.lag) : null;
  }

  /** Primary and mirror change places: both hold the same, and nothing is being written. */
  swap(): void {
    assert(this.#mirror !== null, 'a cutover goes to the mirror');
    assert(!this.snapshots.areWritten, 'no snapshot is being written');
    [this.#primary, this.#mirror] = [this.#mirror, this.#primary];
    this.#watchMirror();
  }

  /** Dual write ends: the mirror is the caller's to close. */
  detach(): Instance {
    const mirror = this.#mirror;
    assert(mirror !== null, 'a mirror is there to be detached');
    this.#mirror = null;
    return mirror;
  }

  /** Resolves once every write that was given to a mirror which was left has returned (DUAL-8). */
  get leftIsClosed(): Promise<void> {
    return this.#left;
  }

  /** Whether the pair is closed and its mirror has not returned yet from what it was given. */
  get mirrorIsLate(): boolean {
    return this.#mirrorIsLate;
  }

  /** By how much the sides may differ after a crash. */
  get window(): PairWindow {
    return this.#options.window;
  }

  get primary(): Instance {
    return this.#primary;
  }

  get mirror(): Instance | null {
    return this.#mirror;
  }

  async commit(plan: MutationPlan): Promise<void> {
    try {
      await this.#commit(plan);
    } catch (error) {
      this.snapshots.abandon();
      throw error;
    }
  }

  async #commit(plan: MutationPlan): Promise<void> {
    for (const tracker of this.#trackers) tracker.note(plan);
    const named = namedChange(plan, this.#primary.state().firstIndex);
    const { watermark, window } = this.#options;
    if (named !== null) await watermark.name(named, await this.#positionBelow(plan));
    for (const part of splitMutation(mutationOf(plan), window)) await this.#apply(part);
    if (named !== null) await watermark.clearName();
    if (plan.snapshot !== undefined) this.snapshots.published(plan.snapshot);
    const last = plan.append.at(-1);
    if (last !== undefined) {
      watermark.acknowledged({ index: lastIndexOf(last), term: termAt(last, last.count - 1) });
    }
  }

  read(from: bigint, to: bigint, options: Required<ReadOptions>): AsyncIterable<EntryBatch> {
    return this.#primary.read(from, to, options);
  }

  /** Waits for the mirror, and for one that was left, no longer than for a mutation. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.snapshots.abandon();
    await this.watermark.settled();
    const primary = this.#primary.close();
    const mirror = this.#mirror?.close();
    const returned = Promise.allSettled([this.#left, this.snapshots.mirrorReturned, mirror]);
    this.#left = returned.then(() => {});
    const { limitMs } = this.#options.policy;
    const after = primary.catch(() => {});
    try {
      await inTime(this.#left, { limitMs, after });
    } catch {
      this.#mirrorIsLate = this.#mirror !== null;
      void this.#left.then(() => (this.#mirrorIsLate = false));
    }
    await primary;
    if (!this.#mirrorIsLate) await mirror;
  }

  /** The highest position that the change leaves as it is, at most the watermark's own. */
  async #positionBelow({ resetTo, lastKept }: MutationPlan): Promise<LogPosition> {
    const { index, term } = this.#options.watermark.state;
    if (resetTo !== undefined) return { index: 0n, term: 0n };
    if (lastKept === undefined || lastKept >= index) return { index, term };
    return { index: lastKept, term: (await entryTerm(this.#primary, lastKept)) ?? 0n };
  }

  async #apply(part: Mutation): Promise<void> {
    const mirror = this.#mirror;
    const { snapshot, truncate, entries } = part;
    const primaryFirst = snapshot !== undefined || (truncate && 'firstKept' in truncate);
    const begun = performance.now();
    const onPrimary = timed(this.#primary.apply(forPrimary(part)), begun);
    if (mirror === null) {
      const took = await onPrimary;
      if (entries !== undefined) this.#latencies.primary.note(took);
      return;
    }
    if (primaryFirst) await onPrimary;
    const onMirror = timed(mirror.apply(forMirror(part, mirror)), begun);
    const [primary, mirrored] = await Promise.allSettled([
      onPrimary,
      inTime(onMirror, { limitMs: this.#options.policy.limitMs, after: onPrimary }),
    ]);
    if (primary.status === 'rejected') throw primary.reason;
    if (mirrored.status === 'rejected') return this.#leave(mirror, mirrored.reason);
    if (entries !== undefined) await this.#noteAppend(primary.value, mirrored.value);
  }

  /** Both have it; a mirror that has been slow for long is left now. */
  async #noteAppend(primaryMs: number, mirrorMs: number): Promise<void> {
    const { primary, mirror, lag } = this.#latencies;
    primary.note(primaryMs);
    mirror.note(mirrorMs);
    lag.note(Math.max(0, mirrorMs - primaryMs));
    const reason = this.#slow?.exceeded() ?? null;
    if (reason !== null && this.#mirror !== null) {
      await this.#leave(this.#mirror, new Error(reason));
    }
  }

  async #leave(mirror: Instance, reason: unknown): Promise<void> {
    const cause = fail(
      'pair.mirror-failed',
      {
        primary: this.#primary.uris.log,
        mirror: mirror.uris.log,
        reason: messageOf(reason),
      },
      { cause: reason },
    );
    // Of a store that is closed the record is another one's to change.
    if (this.#options.policy.onFailure === 'fail' || this.#isClosed) throw cause;
    await this.#options.detached(cause, mirror);
    // Two things that failed on it may leave it at once.
    const closed = this.#mirror === mirror ? mirror.close() : undefined;
    this.#mirror = null;
    // It waits for what the mirror was given; that it fails says nothing new.
    const returned = Promise.allSettled([this.#left, this.snapshots.mirrorReturned, closed]);
    this.#left = returned.then(() => {});
  }
}

/** How long after `begun` it was done, in milliseconds. */
async function timed(work: Promise<void>, begun: number): Promise<number> {
  await work;
  return performance.now() - begun;
}

/** What the watermark must name before the plan has any effect; null when it only adds. */
function namedChange(plan: MutationPlan, firstIndex: bigint) {
  const log = namedLogChange(plan, firstIndex);
  const snapshot = plan.snapshot && {
    index: plan.snapshot.meta.lastIncludedIndex,
    tag: tagOf(plan.snapshot),
  };
  return log === null && snapshot === undefined ? null : { log, snapshot: snapshot ?? null };
}

/**
 * A reset shows by where the log begins. One to where it begins already cuts off all of it, and has
 * a truncation's name.
 */
function namedLogChange(plan: MutationPlan, firstIndex: bigint): NamedLogChange | null {
  const { resetTo, append } = plan;
  if (resetTo !== undefined && resetTo !== firstIndex) return { kind: 'reset', to: resetTo };
  const lastKept = resetTo === undefined ? plan.lastKept : resetTo - 1n;
  if (lastKept === undefined) return null;
  const [first] = append;
  if (first === undefined) return { kind: 'truncate', lastKept };
  return { kind: 'replace', index: first.firstIndex, term: termAt(first, 0) };
}

function mutationOf(plan: MutationPlan): Mutation {
  const { snapshot, resetTo, firstKept, lastKept, append, metaUpdate } = plan;
  const [first] = append;
  return {
    ...(snapshot && { snapshot }),
    ...(resetTo !== undefined && { reset: resetTo }),
    ...(firstKept !== undefined && { truncate: { firstKept } }),
    ...(lastKept !== undefined && { truncate: { lastKept } }),
    ...(first && { entries: { after: first.firstIndex - 1n, batches: append } }),
    ...(metaUpdate && { meta: metaUpdate }),
  };
}

function forPrimary({ snapshot, ...rest }: Mutation): Mutation {
  return snapshot === undefined ? rest : { ...rest, snapshot: preparedOn(snapshot, 'primary') };
}

function forMirror({ snapshot, ...rest }: Mutation, mirror: Instance): Mutation {
  return snapshot === undefined ? rest : { ...rest, snapshot: preparedOn(snapshot, { mirror }) };
}

/**
 * Validation of a pair that is written, again and again: what both sides were read back for is kept
 * from one to the next, with a tracker of all that has changed since, and only the rest is read
 * (EQ-3, EQ-5). So an incremental validation reads what was appended or rewritten, at most a leaf
 * of the log's digest at its beginning and one where the changes begin, the snapshot where it was
 * replaced; and one that is cut off goes on where it stopped.
 *
 * What is kept is in memory, of these two open instances: it ends with the process, with either
 * instance, and when the store is opened again after a failure (LOG-8). Changes of roles leave it
 * as it is: both sides hold the same in it. Damage to bytes that nobody wrote shows only in a full
 * read, so that nothing is kept for longer than the host's configuration says.
 */
import { assert, fail } from '../core/errors.ts';
import type { EquivalenceReport } from '../schemas/equivalence-report.ts';
import type { Instance } from '../storage/contracts.ts';
import { compareInstances } from '../storage/equivalence/compare.ts';
import { ReadBack } from '../storage/equivalence/read-back.ts';
import type { StateDigest } from '../storage/image/state-digester.ts';
import type { TransferOptions } from '../storage/image/state-stream.ts';
import type { ChangeTracker } from '../storage/replication/change-tracker.ts';
import type { PairEngine } from '../storage/replication/pair-engine.ts';
import type { PinnedPair } from '../storage/replication/pinned-pair.ts';

export interface PairValidationOptions {
  /** For how long what was read back may be kept; 0: each validation reads everything. */
  readonly fullEverySeconds: number;
  /** ISO 8601. */
  readonly now: () => string;
  /** Milliseconds by a clock that does not jump. */
  readonly clockMs?: () => number;
}

export interface ValidateOptions extends TransferOptions {
  /**
   * An earlier validation counts only when its full read began within so many seconds; null: as
   * the host is configured. A full read that was cut off goes on all the same.
   */
  readonly readWithinSeconds?: number | null;
  /** Keeps the report of a difference; where, in words. */
  readonly keepReport?: (report: EquivalenceReport) => Promise<string>;
}

/** A validation that found both sides equal. */
export interface Validated {
  readonly at: string;
  /** Nothing that it rests on was read back before; ISO 8601. */
  readonly readSince: string;
  /** Read by it, of both sides. */
  readonly bytesRead: number;
}

interface Kept {
  readonly engine: PairEngine;
  /** Both, in either order. */
  readonly sides: readonly Instance[];
  readonly readBack: ReadBack;
  /** What has changed since the cut at which `readBack` holds. */
  readonly since: ChangeTracker;
  /** When the full read began. */
  readonly begun: { readonly at: string; readonly ms: number };
  /** Whether a validation has come to its end since. */
  isWhole: boolean;
}

export class PairValidation {
  readonly #options: PairValidationOptions;
  readonly #clockMs: () => number;
  #kept: Kept | null = null;
  #last: (Validated & Pick<Kept, 'sides'>) | null = null;

  constructor(options: PairValidationOptions) {
    this.#options = options;
    this.#clockMs = options.clockMs ?? (() => performance.now());
  }

  /**
   * Compares the two sides of the cut, reading what is not known of both.
   * @throws `state.different`, and what {@link compareInstances} throws
   */
  async compare(
    engine: PairEngine,
    pinned: PinnedPair,
    { readWithinSeconds = null, keepReport, ...options }: ValidateOptions,
  ): Promise<Validated & Readonly<Record<'a' | 'b', StateDigest>>> {
    const { primary, mirror, sides } = pinned;
    assert(mirror !== null, 'a validation is of a pair');
    const kept = this.#keep(engine, pinned, readWithinSeconds);
    const compared = await compareInstances(primary, mirror, {
      ...options,
      readBack: kept.readBack,
    });
    if (!compared.equal) {
      this.forget();
      const { report } = compared;
      const where = keepReport === undefined ? '' : ` (${await keepReport(report)})`;
      throw fail('state.different', { summary: `${report.summary}${where}` });
    }
    kept.isWhole = true;
    const { a, b, bytesRead } = compared;
    const validated = { at: this.#options.now(), readSince: kept.begun.at, bytesRead };
    this.#last = { ...validated, sides };
    return { ...validated, a, b };
  }

  /** The last that found equal what are the sides now; null without one. */
  lastOf({ primary, mirror }: PairEngine): Validated | null {
    const last = this.#last;
    const isOfThese =
      mirror !== null && [primary, mirror].every((one) => last?.sides.includes(one));
    return isOfThese ? last : null;
  }

  /** The next validation reads everything. */
  forget(): void {
    this.#kept?.engine.untrack(this.#kept.since);
    this.#kept = null;
  }

  /** What is known of both sides at the cut; what is found from now on is added to it. */
  #keep(engine: PairEngine, pinned: PinnedPair, readWithinSeconds: number | null): Kept {
    const known = this.#knownOf(pinned, readWithinSeconds);
    this.forget();
    const begun = { at: this.#options.now(), ms: this.#clockMs() };
    const { sides } = pinned;
    const since = pinned.keep();
    const anew = { readBack: new ReadBack(), begun, isWhole: false };
    const kept = { ...anew, ...known, engine, sides, since };
    this.#kept = kept;
    return kept;
  }

  /** Null when all of both must be read. */
  #knownOf(
    { primary, sides }: PinnedPair,
    readWithinSeconds: number | null,
  ): Pick<Kept, 'readBack' | 'begun' | 'isWhole'> | null {
    const kept = this.#kept;
    if (kept === null || !sides.every((side) => kept.sides.includes(side))) return null;
    const { begun, isWhole, since } = kept;
    const within = Math.min(
      this.#options.fullEverySeconds,
      (isWhole ? readWithinSeconds : null) ?? Infinity,
    );
    if (this.#clockMs() - begun.ms >= within * 1000) return null;
    const { firstIndex } = primary.state();
    const { lowestIndex, snapshotReplaced } = since;
    const readBack = kept.readBack.unchanged({ firstIndex, lowestIndex, snapshotReplaced });
    return readBack.isEmpty ? null : { readBack, begun, isWhole };
  }
}

/**
 * A proof while its replica is written on (EQ-5): from the proof's cut on every change is tracked,
 * and what has changed is all that must still be compared.
 */
import { fail, hasCode } from '../core/errors.ts';
import type { Proof } from '../schemas/proof.ts';
import type { Instance } from '../storage/contracts.ts';
import type { ChangeTracker } from '../storage/replication/change-tracker.ts';
import { requireSameTail } from '../storage/replication/log-match.ts';
import type { Pair } from '../storage/replication/open-pair.ts';
import { withPinned } from '../storage/replication/pinned-pair.ts';

/** So few changed entries are left to the barrier: reading them takes a part of a millisecond. */
const fewEntries = 64n;
/** A load that changes more than that in each round is not waited for. */
const mostRounds = 4;

/** Both sides, where nothing is being written, or held at one cut. */
interface Sides {
  readonly primary: Instance;
  /** Null when it was left since the proof. */
  readonly mirror: Instance | null;
}

export class HeldProof {
  readonly proof: Proof;
  /** Whose changes are tracked: a pair that was opened again since voids the proof. */
  readonly pair: Pair;
  /** Both sides were found equal up to here, at the cut from which `#since` tracks. */
  #lastIndex: bigint;
  #since: ChangeTracker;

  constructor(parts: {
    readonly proof: Proof;
    readonly pair: Pair;
    readonly lastIndex: bigint;
    readonly since: ChangeTracker;
  }) {
    this.proof = parts.proof;
    this.pair = parts.pair;
    this.#lastIndex = parts.lastIndex;
    this.#since = parts.since;
  }

  /** Whether a snapshot was published since: no cutover can rest on it then. */
  get isVoid(): boolean {
    return this.#since.snapshotReplaced;
  }

  /**
   * Requires both to hold the same in what has changed since the cut, and the same metadata.
   * @throws `pair.diverged`; `proof.stale` when the mirror was left or a snapshot published since,
   *   or when more than `maxBytes` of entries have changed, null being any number
   */
  async requireSameSince({ primary, mirror }: Sides, maxBytes: number | null): Promise<void> {
    if (mirror === null) throw this.#stale('the mirror was left since');
    if (this.#since.snapshotReplaced) throw this.#stale('a snapshot was published since');
    await requireSameTail({ primary, mirror }, { from: this.#firstChanged(), maxBytes });
  }

  #stale(present: string): Error {
    return fail('proof.stale', { present, given: this.proof.createdAt });
  }

  /**
   * Moves the cut: what has changed until now is read back from both sides and compared while
   * writing goes on, so that little is left for whoever stops it.
   * @throws as {@link requireSameSince}, and when the mirror was left; the cut stays then
   */
  async bringForward(): Promise<void> {
    for (let round = 0; round < mostRounds; round += 1) {
      await this.#moveCut();
      const { lastIndex } = this.pair.instance.state();
      if (lastIndex - this.#firstChanged() < fewEntries) return;
    }
  }

  /** Tracks nothing any more. */
  release(): void {
    this.pair.engine.untrack(this.#since);
  }

  #firstChanged(): bigint {
    const lowest = this.#since.lowestIndex;
    return lowest === null || lowest > this.#lastIndex ? this.#lastIndex + 1n : lowest;
  }

  async #moveCut(): Promise<void> {
    try {
      await withPinned(this.pair, async ({ primary, mirror, keep }) => {
        await this.requireSameSince({ primary, mirror }, null);
        this.release();
        this.#lastIndex = primary.state().lastIndex;
        this.#since = keep();
      });
    } catch (error) {
      // What was to be compared has been rewritten meanwhile: it is compared later.
      if (!hasCode(error, 'image.source-changed')) throw error;
    }
  }
}

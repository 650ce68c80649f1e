/**
 * What has changed since a cut (EQ-5): the lowest index that a mutation has rewritten or added, and
 * whether the snapshot was replaced. Told of each mutation before its first effect, so that whoever
 * reads beside the writing knows what of it cannot be trusted.
 */
import type { MutationPlan } from '../mutation-plan.ts';

export class ChangeTracker {
  #lowestIndex: bigint | null = null;
  #snapshotReplaced = false;

  /** @param like whose changes are its own too */
  constructor(like?: ChangeTracker) {
    this.#lowestIndex = like?.lowestIndex ?? null;
    this.#snapshotReplaced = like?.snapshotReplaced ?? false;
  }

  /** Null while nothing of the log has changed. A prefix truncation changes no entry. */
  get lowestIndex(): bigint | null {
    return this.#lowestIndex;
  }

  get snapshotReplaced(): boolean {
    return this.#snapshotReplaced;
  }

  /** Whether an entry at or below `index` was rewritten. */
  hasRewritten(index: bigint): boolean {
    return this.#lowestIndex !== null && this.#lowestIndex <= index;
  }

  note({ snapshot, resetTo, lastKept, append }: MutationPlan): void {
    this.#snapshotReplaced ||= snapshot !== undefined;
    // A reset leaves nothing of what was below it either.
    const changed = [resetTo === undefined ? undefined : 0n, append[0]?.firstIndex];
    if (lastKept !== undefined) changed.push(lastKept + 1n);
    for (const index of changed) {
      if (index === undefined || this.hasRewritten(index)) continue;
      this.#lowestIndex = index;
    }
  }
}

/** How long one kind of operation has taken lately: percentiles of the last ones. */

/** Of them p99 is the tenth highest; 16 KiB for a store that is written, none for an idle one. */
const kept = 1024;

export interface LatencySummary {
  /** Operations that it is of. */
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const nothing: LatencySummary = { count: 0, p50Ms: 0, p99Ms: 0 };

export class LatencyWindow {
  #ms: Float64Array | null = null;
  #at: Float64Array = new Float64Array(0);
  #noted = 0;

  /** @param at when it ended, by the clock of `performance.now()` */
  note(ms: number, at = performance.now()): void {
    if (this.#ms === null) {
      this.#ms = new Float64Array(kept);
      this.#at = new Float64Array(kept);
    }
    const slot = this.#noted % kept;
    this.#ms[slot] = ms;
    this.#at[slot] = at;
    this.#noted += 1;
  }

  clear(): void {
    this.#noted = 0;
  }

  /** Of those that ended at `since` or later, the last 1,024 at most. */
  summary(since: number): LatencySummary {
    if (this.#ms === null) return nothing;
    const count = Math.min(this.#noted, kept);
    const recent = this.#ms.subarray(0, count).filter((_, i) => (this.#at[i] ?? 0) >= since);
    recent.sort();
    if (recent.length === 0) return nothing;
    return { count: recent.length, p50Ms: rank(recent, 0.5), p99Ms: rank(recent, 0.99) };
  }
}

/** The smallest of the sorted values that at least this part of them does not exceed. */
function rank(sorted: Float64Array, part: number): number {
  return sorted[Math.ceil(sorted.length * part) - 1] ?? 0;
}

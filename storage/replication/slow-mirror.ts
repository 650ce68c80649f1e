/**
 * A mirror that is slow for long (DUAL-8): it is left rather than the replica hurt. What counts is
 * how much longer than the primary it takes: a busy machine makes both slow.
 */
import type { LatencyWindow } from './latency-window.ts';

export interface SlowMirrorLimit {
  /** How much longer than the primary it may take for 99 of 100 appends. */
  readonly p99Ms: number;
  /** How long it may take longer than that. */
  readonly forMs: number;
}

/** Percentiles are computed this often at most. */
const lookEveryMs = 100;

export class SlowMirrorWatch {
  readonly #limit: SlowMirrorLimit;
  readonly #lag: LatencyWindow;
  #lookedAt = -Infinity;
  #slowSince: number | null = null;

  constructor(limit: SlowMirrorLimit, lag: LatencyWindow) {
    this.#limit = limit;
    this.#lag = lag;
  }

  /**
   * Why the mirror is to be left; null while it is not. Asked after each append.
   * @param now by the clock of `performance.now()`
   */
  exceeded(now = performance.now()): string | null {
    if (now - this.#lookedAt < lookEveryMs) return null;
    this.#lookedAt = now;
    const { p99Ms, forMs } = this.#limit;
    // Of half the time: a single slow append is forgotten before the whole has passed.
    const lag = this.#lag.summary(now - forMs / 2);
    if (lag.p99Ms <= p99Ms) this.#slowSince = null;
    else this.#slowSince ??= now;
    if (this.#slowSince === null || now - this.#slowSince < forMs) return null;
    const took = `p99 was ${lag.p99Ms.toFixed(0)} ms above the primary's, of ${lag.count} appends`;
    return `it was too slow for ${forMs} ms: its ${took}, where ${p99Ms} ms are allowed`;
  }
}

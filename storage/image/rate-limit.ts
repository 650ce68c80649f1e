/**
 * Throttling of bulk work: by a limit that may change while the work runs, and by giving way to
 * whoever waits for the same process.
 */
import { setImmediate } from 'node:timers/promises';

/** Mutable: whoever holds it changes the rate of the work that was given it. */
export interface RateLimit {
  /** Bytes per second; null is no limit, 0 stands still. */
  bytesPerSecond: number | null;
}

/** Longest sleep: how soon a changed limit or an abort is noticed. */
const maxSleepMs = 100;

/**
 * How much bulk work does in one go before it gives way: about a millisecond of a processor, beside
 * which what it costs to wait for the others is little.
 */
const giveWayEveryBytes = 512 * 1024;

/** Resolves when what is under way and goes first is done. */
export type GiveWay = () => Promise<void>;

/** Unused allowance is kept for this long at most, so that a pause is not followed by a burst. */
const burstMs = 250;

/** Paces one piece of work by a {@link RateLimit}. */
export class Pacer {
  readonly #limit: RateLimit | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #giveWay: GiveWay | undefined;
  #sinceGivenWay = 0;
  #debtBytes = 0;
  #settledMs = performance.now();

  constructor(options: {
    limit?: RateLimit | undefined;
    signal?: AbortSignal | undefined;
    giveWay?: GiveWay | undefined;
  }) {
    this.#limit = options.limit;
    this.#signal = options.signal;
    this.#giveWay = options.giveWay;
  }

  /** Accounts for `bytes` just moved; resolves when more may follow. Rejects once aborted. */
  async moved(bytes: number): Promise<void> {
    this.#debtBytes += bytes;
    this.#signal?.throwIfAborted();
    await this.#letPass(bytes);
    for (let wait = this.#settle(); wait > 0; wait = this.#settle()) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(wait, maxSleepMs)));
      this.#signal?.throwIfAborted();
    }
  }

  async #letPass(bytes: number): Promise<void> {
    if (this.#giveWay === undefined) return;
    this.#sinceGivenWay += bytes;
    if (this.#sinceGivenWay < giveWayEveryBytes) return;
    this.#sinceGivenWay = 0;
    await this.#giveWay();
    // Its answer leaves the process at the end of this turn of the event loop.
    await setImmediate();
    this.#signal?.throwIfAborted();
  }

  /** Pays off what time has allowed; returns the milliseconds still owed. */
  #settle(): number {
    const now = performance.now();
    const rate = this.#limit?.bytesPerSecond ?? null;
    const elapsedMs = now - this.#settledMs;
    this.#settledMs = now;
    if (rate === null) {
      this.#debtBytes = 0;
      return 0;
    }
    const paid = this.#debtBytes - (rate * elapsedMs) / 1000;
    this.#debtBytes = Math.max(paid, (-rate * burstMs) / 1000);
    if (this.#debtBytes <= 0) return 0;
    return rate === 0 ? maxSleepMs : (this.#debtBytes / rate) * 1000;
  }
}

/**
 * Bulk work beside a replica that is written: it slows down when the replica's appends become
 * slower than they were without it, and speeds up again when they have recovered.
 *
 *     p99 of the appends now > multiple × p99 without bulk work: half the rate, at least the floor
 *     else: a quarter more, up to what it was given
 *
 * The floor is never below twice what the replica writes: a copy that is slower than its source
 * grows would never catch up.
 *
 * Beside a replica that is written it begins at four times the floor: what it does to the appends
 * shows only once it runs.
 */
import type { TransferOptions } from '../storage/image/state-stream.ts';
import type { RateLimit } from '../storage/image/rate-limit.ts';
import type { LatencyWindow } from '../storage/replication/latency-window.ts';

export interface WatchedAppends {
  readonly latency: LatencyWindow;
  /** All that they have written so far, in bytes. */
  readonly bytes: () => number;
}

export interface AppendGuardLimits {
  /** How many times its usual p99 an append may take. */
  readonly multiple: number;
  /** Never slower than this, in bytes per second. */
  readonly floorBytesPerSecond: number;
}

/** Of what the replica writes: the least that catches up with it. */
const catchingUp = 2;
/** How soon a change of the appends is answered. */
const tickMs = 250;
/** How far back appends count as now, and, before the work began, as usual. */
const nowMs = 2000;
const usualMs = 60_000;
/** Of the floor: where the work begins. */
const firstRate = 4;
/** Fewer say nothing about a p99. */
const fewest = 50;

/** Runs `work` with a rate that follows both its giver's limit and the replica's appends. */
export async function guardingAppends<Result>(
  appends: WatchedAppends,
  { limits, given }: { readonly limits: AppendGuardLimits | null; readonly given: TransferOptions },
  work: (options: TransferOptions) => Promise<Result>,
): Promise<Result> {
  if (limits === null) return work(given);
  const asked = given.rateLimit ?? { bytesPerSecond: null };
  const guard = new AppendGuard({ appends, limits, asked });
  const timer = setInterval(() => guard.tick(performance.now()), tickMs);
  try {
    return await work({
      ...given,
      rateLimit: guard.rateLimit,
      onProgress: (progress) => {
        guard.moved(progress.bytesDone);
        given.onProgress?.(progress);
      },
    });
  } finally {
    clearInterval(timer);
  }
}

export class AppendGuard {
  /** What the work is to follow. */
  readonly rateLimit: RateLimit;
  readonly #appends: WatchedAppends;
  readonly #limits: AppendGuardLimits;
  readonly #asked: RateLimit;
  /** p99 without bulk work; null while it is not known. */
  #usualMs: number | null = null;
  /** Since when the work rests, so that it becomes known. */
  #restsSince: number | null = null;
  #changedAt: number;
  /** Null while the appends ask for nothing. */
  #rate: number | null = null;
  #bytes = 0;
  #seen = { bytes: 0, at: 0 };
  #bytesPerSecond = 0;
  /** What had been written, of the last ticks. */
  #written: { readonly bytes: number; readonly at: number }[];

  constructor(parts: {
    readonly appends: WatchedAppends;
    readonly limits: AppendGuardLimits;
    /** As the giver changes it. */
    readonly asked: RateLimit;
    readonly now?: number;
  }) {
    const now = parts.now ?? performance.now();
    this.#appends = parts.appends;
    this.#limits = parts.limits;
    this.#asked = parts.asked;
    this.#changedAt = now;
    this.#seen.at = now;
    this.#written = [{ bytes: parts.appends.bytes(), at: now }];
    this.rateLimit = { bytesPerSecond: parts.asked.bytesPerSecond };
    const { count, p99Ms } = parts.appends.latency.summary(now - usualMs);
    if (count >= fewest) this.#knows(p99Ms);
    this.rateLimit.bytesPerSecond = this.#allowed();
  }

  #knows(p99Ms: number): void {
    this.#usualMs = p99Ms;
    this.#rate = this.#floor() * firstRate;
  }

  /** Bytes that the present piece of work has moved. */
  moved(bytes: number): void {
    this.#bytes = bytes;
  }

  /** @param now by the clock of `performance.now()` */
  tick(now: number): void {
    this.#measure(now);
    if (this.#usualMs === null) this.#learn(now);
    else this.#follow(now, this.#usualMs);
    this.rateLimit.bytesPerSecond = this.#allowed();
  }

  #allowed(): number | null {
    if (this.#restsSince !== null) return 0;
    const asked = this.#asked.bytesPerSecond;
    if (asked === null || this.#rate === null) return asked ?? this.#rate;
    return Math.min(asked, this.#rate);
  }

  #measure(now: number): void {
    const { bytes, at } = this.#seen;
    // Another piece of work has begun to count.
    const moved = this.#bytes < bytes ? this.#bytes : this.#bytes - bytes;
    if (now > at) this.#bytesPerSecond = (moved * 1000) / (now - at);
    this.#seen = { bytes: this.#bytes, at: now };
    const written = { bytes: this.#appends.bytes(), at: now };
    this.#written = [...this.#written.filter((past) => past.at >= now - nowMs), written];
  }

  #floor(): number {
    const [first, latest] = [this.#written[0], this.#written.at(-1)];
    const { floorBytesPerSecond } = this.#limits;
    if (first === undefined || latest === undefined || latest.at === first.at) {
      return floorBytesPerSecond;
    }
    const perSecond = ((latest.bytes - first.bytes) * 1000) / (latest.at - first.at);
    return Math.max(floorBytesPerSecond, perSecond * catchingUp);
  }

  /** The work rests for a moment once the replica is written, and its appends are looked at. */
  #learn(now: number): void {
    if (this.#restsSince === null) {
      if (this.#appends.latency.summary(now - nowMs).count >= fewest) this.#restsSince = now;
      return;
    }
    const { count, p99Ms } = this.#appends.latency.summary(this.#restsSince);
    if (count >= fewest) this.#knows(p99Ms);
    if (count >= fewest || now - this.#restsSince > nowMs) this.#restsSince = null;
  }

  #follow(now: number, usual: number): void {
    const since = Math.max(this.#changedAt, now - nowMs);
    const { count, p99Ms } = this.#appends.latency.summary(since);
    if (count >= fewest && p99Ms > usual * this.#limits.multiple) {
      const rate = this.#rate ?? this.#bytesPerSecond;
      this.#rate = Math.max(rate / 2, this.#floor());
      this.#changedAt = now;
    } else if (this.#rate !== null) {
      const more = this.#rate * 1.25;
      // It moves less than it may: nothing holds it back any more.
      this.#rate = this.#bytesPerSecond < this.#rate / 2 ? null : more;
      this.#changedAt = now;
    }
  }
}

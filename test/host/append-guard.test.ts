import { describe, expect, test } from 'vitest';

import { AppendGuard } from '../../host/append-guard.ts';
import { LatencyWindow } from '../../storage/replication/latency-window.ts';

const MiB = 1024 * 1024;
const limits = { multiple: 2, floorBytesPerSecond: 4 * MiB };
const tickMs = 250;

/** A replica with an append every 4 ms, and bulk work beside it. */
class Beside {
  readonly latency = new LatencyWindow();
  readonly appends = { latency: this.latency, bytes: () => this.#written };
  now = 0;
  /** Of each append. */
  appendBytes = 0;
  #written = 0;
  #moved = 0;

  /** `seconds` of appends that take `ms` each; the work moves what it may, at most 100 MiB/s. */
  run(guard: AppendGuard | null, { seconds, ms }: { seconds: number; ms: number }): void {
    for (const end = this.now + seconds * 1000; this.now < end;) {
      for (let at = 0; at < tickMs; at += 4) {
        this.latency.note(ms, this.now + at);
        this.#written += this.appendBytes;
      }
      this.now += tickMs;
      if (guard === null) continue;
      const rate = Math.min(guard.rateLimit.bytesPerSecond ?? Infinity, 100 * MiB);
      this.#moved += (rate * tickMs) / 1000;
      guard.moved(this.#moved);
      guard.tick(this.now);
    }
  }
}

function guardOf(beside: Beside, asked: number | null = null): AppendGuard {
  const { appends, now } = beside;
  return new AppendGuard({ appends, limits, asked: { bytesPerSecond: asked }, now });
}

describe('bulk work beside a replica that is written', () => {
  test('appends as fast as ever: it begins gently, and comes to the rate that it was given', () => {
    const beside = new Beside();
    beside.run(null, { seconds: 2, ms: 1 });
    const unlimited = guardOf(beside);
    const limited = guardOf(beside, 10 * MiB);
    expect(unlimited.rateLimit.bytesPerSecond).toBe(4 * limits.floorBytesPerSecond);
    beside.run(unlimited, { seconds: 5, ms: 2 });
    beside.run(limited, { seconds: 5, ms: 2 });
    expect(unlimited.rateLimit.bytesPerSecond).toBeNull();
    expect(limited.rateLimit.bytesPerSecond).toBe(10 * MiB);
  });

  test('appends that take more than the multiple: it slows down to the floor, no further', () => {
    const beside = new Beside();
    beside.run(null, { seconds: 2, ms: 1 });
    const guard = guardOf(beside);
    beside.run(guard, { seconds: 0.25, ms: 3 });
    expect(guard.rateLimit.bytesPerSecond).toBe(8 * MiB);
    beside.run(guard, { seconds: 5, ms: 3 });
    expect(guard.rateLimit.bytesPerSecond).toBe(limits.floorBytesPerSecond);
  });

  test('a replica that writes much: the floor is twice that, so that the copy catches up', () => {
    const beside = new Beside();
    beside.appendBytes = 64 * 1024;
    beside.run(null, { seconds: 2, ms: 1 });
    const guard = guardOf(beside);
    beside.run(guard, { seconds: 5, ms: 3 });
    const written = (beside.appendBytes * 1000) / 4;
    expect(guard.rateLimit.bytesPerSecond).toBeGreaterThan(written * 1.9);
    expect(guard.rateLimit.bytesPerSecond).toBeLessThan(written * 2.1);
  });

  test('appends that have recovered: it speeds up again, until nothing holds it back', () => {
    const beside = new Beside();
    beside.run(null, { seconds: 2, ms: 1 });
    const guard = guardOf(beside);
    beside.run(guard, { seconds: 5, ms: 3 });
    beside.run(guard, { seconds: 2, ms: 1 });
    const recovering = guard.rateLimit.bytesPerSecond ?? 0;
    expect(recovering).toBeGreaterThan(limits.floorBytesPerSecond);
    beside.run(guard, { seconds: 10, ms: 1 });
    expect(guard.rateLimit.bytesPerSecond).toBeNull();
  });

  test('a replica that nobody wrote before: the work rests for a moment to learn what is usual', () => {
    const beside = new Beside();
    const guard = guardOf(beside);
    guard.tick(1);
    expect(guard.rateLimit.bytesPerSecond).toBeNull();
    beside.run(guard, { seconds: 0.25, ms: 1 });
    expect(guard.rateLimit.bytesPerSecond).toBe(0);
    beside.run(guard, { seconds: 0.25, ms: 1 });
    expect(guard.rateLimit.bytesPerSecond).toBe(16 * MiB);
    beside.run(guard, { seconds: 0.25, ms: 3 });
    expect(guard.rateLimit.bytesPerSecond).toBe(8 * MiB);
  });

  test('its giver pauses it: it stands still, whatever the appends do', () => {
    const beside = new Beside();
    beside.run(null, { seconds: 2, ms: 1 });
    const guard = guardOf(beside, 0);
    beside.run(guard, { seconds: 3, ms: 1 });
    expect(guard.rateLimit.bytesPerSecond).toBe(0);
  });
});

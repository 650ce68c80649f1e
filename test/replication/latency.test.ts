import { describe, expect, test } from 'vitest';

import { LatencyWindow } from '../../storage/replication/latency-window.ts';
import { SlowMirrorWatch } from '../../storage/replication/slow-mirror.ts';

describe('the latencies of the last operations', () => {
  test('percentiles are values that were measured; nothing measured: none', () => {
    const window = new LatencyWindow();
    expect(window.summary(0)).toEqual({ count: 0, p50Ms: 0, p99Ms: 0 });
    for (let ms = 100; ms >= 1; ms -= 1) window.note(ms, 1000);
    expect(window.summary(1000)).toEqual({ count: 100, p50Ms: 50, p99Ms: 99 });
    expect(window.summary(1001).count).toBe(0);
  });

  test('only the last 1,024 are kept, and of them those that ended since', () => {
    const window = new LatencyWindow();
    for (let i = 0; i < 5000; i += 1) window.note(i < 4900 ? 1 : 9, i);
    expect(window.summary(0)).toEqual({ count: 1024, p50Ms: 1, p99Ms: 9 });
    expect(window.summary(4950)).toEqual({ count: 50, p50Ms: 9, p99Ms: 9 });
  });
});

describe('a mirror that takes longer than the primary [DUAL-8]', () => {
  const limit = { p99Ms: 10, forMs: 1000 };

  /** One append every 50 ms, as much slower on the mirror as `lagAt` says; when it is left. */
  function leftAt(lagAt: (at: number) => number, until: number): number | null {
    const lag = new LatencyWindow();
    const watch = new SlowMirrorWatch(limit, lag);
    for (let at = 0; at <= until; at += 50) {
      lag.note(lagAt(at), at);
      if (watch.exceeded(at) !== null) return at;
    }
    return null;
  }

  test('within the limit, or above it now and then: it stays', () => {
    expect(leftAt(() => 10, 10_000)).toBeNull();
    expect(leftAt((at) => (at % 2000 === 0 ? 500 : 1), 10_000)).toBeNull();
  });

  test('above the limit without a pause for as long as allowed: it is left then', () => {
    expect(leftAt(() => 11, 10_000)).toBe(1000);
    expect(leftAt((at) => (at < 3000 ? 1 : 40), 10_000)).toBe(4000);
  });

  test('above it for less, then recovered, then above it again: the time begins anew', () => {
    const lagAt = (at: number) => ((at >= 1000 && at < 1400) || at >= 3000 ? 40 : 1);
    expect(leftAt(lagAt, 10_000)).toBe(4000);
  });
});

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { fleetWorkflowId } from '../../core/ids.ts';
import { missing } from '../setup/toolchain.ts';
import {
  dayMs,
  dayOf,
  hourMs,
  nightOf,
  rolloutOf,
  SkippedTime,
  slackMs,
  timesOf,
} from './skipped-time.ts';

describe.skipIf(missing('time-skipping'))('weeks of a fleet', { timeout: 120_000 }, () => {
  const clusters = ['a', 'b', 'c'];
  let time: SkippedTime;

  beforeAll(async () => {
    time = await SkippedTime.start(clusters);
  }, 240_000);

  afterAll(async () => time.close());

  test('its waves begin as windows open, each after the soak of the one before; at its deadline the rest is left', async () => {
    const startMs = await time.nowMs();
    const opensMs = dayOf(startMs) + 2 * dayMs + 2 * hourMs;
    // The second wave has to wait two days for a window, the third would have to for four more.
    const nights = [nightOf(opensMs), nightOf(opensMs + 3 * dayMs)];
    const deadlineMs = opensMs + 5 * dayMs;
    const policy = {
      waves: [{ clusters: 1 }, { clusters: 2 }, { clusters: '100%' }],
      windows: nights,
      soakSeconds: dayMs / 1000,
      deadlineSeconds: Math.round((deadlineMs - startMs) / 1000),
      finalize: 'per-cluster',
      replica: { probeEverySeconds: null, validateEverySeconds: null },
    };
    const rollouts = clusters.map((cluster) => rolloutOf(cluster, policy));
    const snapshot = await time.snapshot(rollouts);
    const [first] = rollouts;
    if (first === undefined) throw new Error('no cluster');
    const { policy: parsed, rolloutId } = first;
    await time.fleets.start({
      fleet: 'f',
      rolloutId,
      snapshot,
      policy: parsed,
      requestedBy: 'test',
    });
    const { outcome, counts } = await time.fleets.result('f');
    expect(outcome).toBe('partly');
    expect(counts).toMatchObject({ total: 3, begun: 2, finalized: 2, failed: 0 });
    const due = { a: opensMs, b: opensMs + 3 * dayMs };
    for (const [cluster, dueMs] of Object.entries(due)) {
      const events = await time.ofMembers(cluster);
      const stops = timesOf(events, 'stop');
      const finals = timesOf(events, 'finalize');
      expect([stops.length, finals.length]).toEqual([3, 3]);
      expect(Math.min(...stops) - dueMs).toBeGreaterThanOrEqual(0);
      expect(Math.min(...stops) - dueMs).toBeLessThan(slackMs);
      const soakMs = Math.max(...timesOf(events, 'probe'));
      for (const atMs of finals) {
        expect(atMs - soakMs).toBeGreaterThanOrEqual(dayMs);
        expect(atMs - soakMs - dayMs).toBeLessThan(slackMs);
      }
    }
    const fleet = await time.happenings(fleetWorkflowId('f'));
    const [endMs = 0] = timesOf(fleet, 'end');
    expect(Math.abs(endMs - deadlineMs)).toBeLessThan(slackMs);
    // Once for each time at which a window opens or closes.
    expect(timesOf(fleet, 'windowAt').length).toBeLessThanOrEqual(6);
  });
});

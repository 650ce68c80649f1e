import { expect, test } from 'vitest';

import { openControlStore } from '../../control/control-store.ts';
import { withStore } from './open-store.ts';

const rollout = { fleet: 'f1', rolloutId: 'r1' };

test('a rollout is fresh once, also for another process, and keeps its snapshot', async () => {
  await withStore(async (store, controlDir) => {
    const first = await store.rollouts.open({ ...rollout, snapshot: 'a' });
    expect(first.fresh).toBe(true);
    const other = await openControlStore({ controlDir });
    try {
      const again = await other.rollouts.open({ ...rollout, snapshot: 'a' });
      expect(again).toEqual({ fresh: false, startedMs: first.startedMs });
      await expect(other.rollouts.open({ ...rollout, snapshot: 'b' })).rejects.toMatchObject({
        code: 'rollout.conflict',
      });
      const next = { ...rollout, rolloutId: 'r2', snapshot: 'b' };
      await expect(other.rollouts.open(next)).resolves.toMatchObject({ fresh: true });
    } finally {
      await other.close();
    }
  });
});

test('a cluster’s last result in a rollout is found again, and no other rollout’s', async () => {
  await withStore(async (store) => {
    const cluster = 'c1';
    await store.rollouts.record({ ...rollout, cluster, outcome: 'rolled-back', reason: 'slow' });
    await store.rollouts.record({ ...rollout, cluster, outcome: 'finalized', reason: null });
    const clusters = ['c0', 'c1'];
    const found = await store.rollouts.results({ ...rollout, clusters });
    expect(found).toEqual([{ cluster, outcome: 'finalized', reason: null }]);
    const other = { ...rollout, rolloutId: 'r2', clusters };
    await expect(store.rollouts.results(other)).resolves.toEqual([]);
  });
});

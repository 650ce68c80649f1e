import { expect, test } from 'vitest';

import { rolloutPolicySchema } from '../../schemas/rollout-policy.ts';
import { newMember } from '../../workflows/fleet-clusters.ts';
import { FleetState } from '../../workflows/fleet-state.ts';

test('what is wished of a cluster that is being started is sent once it runs, in its order', () => {
  const state = new FleetState({
    fleet: 'f',
    rolloutId: 'r',
    snapshot: 's',
    policy: rolloutPolicySchema.parse({ target: 'rocksdb:///{member}' }),
    requestedBy: 'test',
  });
  const member = newMember({ position: 0, cluster: 'c', hosts: [], begun: 1 });
  state.add(member);
  member.starting = true;
  state.tell(member, { order: 'rollback', reason: 'test' });
  state.tell(member, { order: 'resume' });
  // Its workflow is not there yet: a signal would be lost, and the cluster taken for lost.
  expect(state.mail.size).toBe(0);
  state.started(member);
  expect([...state.mail]).toEqual([member]);
  expect(member.outbox.map(({ order }) => order)).toEqual(['rollback', 'resume']);
  state.tell(member, { order: 'pause' });
  expect(member.outbox).toHaveLength(3);
});

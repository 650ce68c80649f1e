import { describe, expect, test } from 'vitest';

import { clusterText } from '../../cli/cluster-text.ts';
import { fleetText } from '../../cli/fleet-text.ts';

const seen = {
  rolloutId: 'r1',
  startedAt: '2026-07-01T10:00:00.000Z',
  closedAt: null,
  status: null,
  failure: null,
} as const;

describe('a rollout whose workflow does not answer', () => {
  test('its status says what is safe meanwhile, and where more is known', () => {
    const cluster = clusterText({ ...seen, cluster: 'kv', run: 'running', migrations: [] });
    expect(cluster).toContain('quorumshift status --local kv/<member>');
    const fleet = fleetText({ ...seen, fleet: 'prod', run: 'running', members: [] });
    for (const text of [cluster, fleet]) {
      expect(text).toMatch(/^safe: .*leave it as it is$/m);
      expect(text).toMatch(/^never: /m);
    }
  });

  test('nothing is said to go on once it has ended', () => {
    const ended = clusterText({ ...seen, cluster: 'kv', run: 'completed', migrations: [] });
    expect(ended).not.toContain('safe:');
  });
});

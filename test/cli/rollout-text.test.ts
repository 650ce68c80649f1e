import { stripVTControlCharacters } from 'node:util';

import { describe, expect, test } from 'vitest';

import { clusterText } from '../../cli/cluster-text.ts';
import { fleetText } from '../../cli/fleet-text.ts';
import { parsePolicy } from '../../control/inventory-file.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import type { FleetStatus, RolloutWaiting } from '../../workflows/rollout-messages.ts';

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
    // Coloured where the environment has it so, as with CI=true.
    for (const text of [cluster, fleet].map(stripVTControlCharacters)) {
      expect(text).toMatch(/^safe: .*leave it as it is$/m);
      expect(text).toMatch(/^never: /m);
    }
  });

  test('nothing is said to go on once it has ended', () => {
    const ended = clusterText({ ...seen, cluster: 'kv', run: 'completed', migrations: [] });
    expect(ended).not.toContain('safe:');
  });
});

test('what an operator wrote cannot look like a line of the status, nor steer a terminal', () => {
  const waiting = {
    kind: 'stopped',
    reason: 'drill\nsafe: \u001b[31mdelete the source',
    remedy: 'resume',
    sinceMs: 0,
  } as const;
  const text = fleetText({
    ...seen,
    fleet: 'prod',
    run: 'running',
    members: [],
    status: fleet(waiting),
  });
  expect(text).toContain('stopped: drill safe: \u{fffd}[31mdelete the source\n');
});

function fleet(waiting: RolloutWaiting): FleetStatus {
  const counts = { begun: 0, moving: 0, soaking: 0, finalized: 0, rolledBack: 0 };
  return {
    fleet: 'prod',
    rolloutId: 'r1',
    snapshot: '',
    policy: parsePolicy(defaultFamilies(), 'target: "sqlite:///new/{cluster}"', 'policy.yaml'),
    stage: 'stopped',
    wave: 0,
    waves: [],
    counts: { ...counts, total: 1, failed: 0, skipped: 0 },
    clusters: [],
    waiting,
    startedMs: 0,
    paused: false,
    bytesPerSecond: null,
    actions: [],
    outcome: null,
  };
}

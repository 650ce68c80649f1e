import { readFile } from 'node:fs/promises';

import { expect, describe, test } from 'vitest';

import { rolloutPolicySchema } from '../../schemas/rollout-policy.ts';
import { missing } from '../setup/toolchain.ts';
import type { LoggedActivity } from '../soak/simulated-agents.ts';
import { placed, SimulatedFleet, simulatedRollouts } from '../soak/simulated-fleet.ts';

/** As if a wait of weeks had filled the histories: the server asks for new ones soon. */
const settings = { 'limit.historyCount.suggestContinueAsNew': 180 };

const soakSeconds = 12;
const soakMs = soakSeconds * 1000;
/** Of a loaded machine, to begin what is due. */
const slackMs = 60_000;

describe.skipIf(missing('temporal'))('waits that are longer than a history', () => {
  test(
    'are handed from run to run, of replicas, clusters and fleets: nothing is done twice, and each soak lasts as long as it should [OPS-1]',
    { timeout: 240_000 },
    async () => {
      const policy = rolloutPolicySchema.parse({
        target: 'memory://new-{cluster}-{member}',
        waves: [{ clusters: '100%' }],
        soakSeconds,
        finalize: 'per-wave',
        replica: { probeEverySeconds: 1 },
      });
      const shape = { names: ['a', 'b', 'c'], members: 3, machines: 3 };
      const rollouts = simulatedRollouts({ ...shape, rolloutId: 'r', policy });
      const machines = { failingShare: 0, seed: 1, entries: 5, machines: placed(rollouts) };
      const bin = process.env['QUORUMSHIFT_TEMPORAL_BIN'] ?? '';
      const fleet = await SimulatedFleet.start({
        bin,
        machines,
        settings,
        doomed: [],
        log: () => {},
      });
      try {
        const snapshot = await fleet.snapshot(rollouts);
        const { client } = fleet;
        await client.start({ fleet: 'f', rolloutId: 'r', snapshot, policy, requestedBy: 'test' });
        expect(await client.result('f')).toMatchObject({ outcome: 'finalized' });
        const continued = new Set<string>();
        for await (const { type, status } of fleet.temporal.workflow.list()) {
          if (status.name === 'CONTINUED_AS_NEW') continued.add(type);
          else if (type !== 'groupLease') expect([type, status.name]).toEqual([type, 'COMPLETED']);
        }
        expect([...continued].toSorted()).toEqual([
          'migrateCluster',
          'migrateFleet',
          'migrateReplica',
        ]);
        const log = (await readFile(fleet.logFile, 'utf8')).trimEnd().split('\n');
        const lines = log.map((line) => JSON.parse(line) as LoggedActivity);
        for (const { cluster, members } of rollouts) {
          for (const { member } of members) {
            const at = (activity: string, event: string) =>
              lines.filter(
                (line) =>
                  line.replica === `${cluster}/${member}` &&
                  line.activity === activity &&
                  line.event === event,
              );
            const done = [at('swap', 'begin'), at('probe', 'end'), at('finalize', 'begin')];
            expect(done.map(({ length }) => length)).toEqual([1, 1, 1]);
            const [[probed], [final]] = [done[1] ?? [], done[2] ?? []];
            const soakedMs = (final?.atMs ?? 0) - (probed?.atMs ?? 0);
            expect(soakedMs).toBeGreaterThanOrEqual(soakMs);
            expect(at('checkSoak', 'end').length).toBeGreaterThan(2);
          }
        }
        const last = (activity: string) =>
          Math.max(...lines.filter((one) => one.activity === activity).map(({ atMs }) => atMs));
        expect(last('finalize') - last('probe') - soakMs).toBeLessThan(slackMs);
      } finally {
        await fleet.close();
      }
    },
  );
});

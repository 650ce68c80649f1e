/**
 * Fleet throughput: rollouts of simulated clusters (test/soak/simulated-fleet.ts), each beside a
 * workflow whose children, in the same window, run as many activities that do nothing. Both have
 * one server and one machine to themselves, one after the other.
 */
import { rolloutPolicySchema } from '../schemas/rollout-policy.ts';
import { readActivityLog } from '../test/soak/activity-log.ts';
import {
  clusterNames,
  placed,
  SimulatedFleet,
  simulatedRollouts,
} from '../test/soak/simulated-fleet.ts';

/** What every run moves. */
const shape = { clusters: 12, members: 3, machines: 12, window: 4 } as const;

/** Of the uncounted run. */
const warmUpClusters = 4;

export interface FleetRun {
  readonly wallSeconds: number;
  readonly activities: number;
}

export interface FleetResult {
  readonly shape: Readonly<Record<keyof typeof shape, number>>;
  readonly pairs: readonly { readonly ours: FleetRun; readonly reference: FleetRun }[];
}

/** In pairs of alternating order, after one uncounted run of each. */
export async function measureFleet(given: {
  readonly bin: string;
  readonly pairs: number;
  readonly log: (line: string) => void;
}): Promise<FleetResult> {
  const { bin, pairs, log } = given;
  const { window } = shape;
  const policy = rolloutPolicySchema.parse({
    target: 'memory://new-{cluster}-{member}',
    waves: [{ clusters: '100%' }],
    concurrency: { clusters: window, perMachine: window },
    soakSeconds: 0,
    finalize: 'per-cluster',
  });
  // The first is the uncounted one.
  const rollouts = Array.from({ length: pairs + 1 }, (_, i) =>
    simulatedRollouts({
      ...shape,
      names: clusterNames(`f${i}-c`, i === 0 ? warmUpClusters : shape.clusters),
      rolloutId: `bench-${i}`,
      policy,
    }),
  );
  const machines = { failingShare: 0, seed: 1, entries: 20, machines: placed(rollouts.flat()) };
  const fleet = await SimulatedFleet.start({ bin, machines, doomed: [], log });
  try {
    await fleet.startNoops();
    const begun = async () => (await readActivityLog(fleet.logFile, new Map())).activities;
    const rollOut = async (number: number): Promise<FleetRun> => {
      const snapshot = await fleet.snapshot(rollouts[number] ?? []);
      const before = await begun();
      const startedMs = performance.now();
      const names = { fleet: `bench-${number}`, rolloutId: `bench-${number}` };
      await fleet.client.start({ ...names, snapshot, policy, requestedBy: 'bench' });
      const { outcome } = await fleet.client.result(names.fleet);
      const wallSeconds = (performance.now() - startedMs) / 1000;
      if (outcome !== 'finalized') throw new Error(`the rollout ended ${outcome}`);
      return { wallSeconds, activities: (await begun()) - before };
    };
    const first = await rollOut(0);
    const each = Math.round(first.activities / warmUpClusters);
    const noop = async (number: number): Promise<FleetRun> => {
      const run = { children: shape.clusters, window, activities: each };
      const wallSeconds = await fleet.noop({ workflowId: `noop-${number}`, ...run });
      return { wallSeconds, activities: shape.clusters * each };
    };
    await noop(0);
    const measured: FleetResult['pairs'][number][] = [];
    for (let number = 1; number <= pairs; number += 1) {
      const oursFirst = number % 2 === 1;
      const before = oursFirst ? null : await noop(number);
      const ours = await rollOut(number);
      const reference = before ?? (await noop(number));
      measured.push({ ours, reference });
      log(`fleet: ${ours.wallSeconds.toFixed(1)} s, no-ops ${reference.wallSeconds.toFixed(1)} s`);
    }
    return { shape, pairs: measured };
  } finally {
    await fleet.close();
  }
}

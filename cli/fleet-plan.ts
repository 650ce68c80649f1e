/** What a fleet's rollout would do, as far as inventory, policy and some agents tell. */
import { messageOf } from '../core/errors.ts';
import type { Clusters } from '../client/control-plane.ts';
import { planWaves } from '../core/fleet-plan.ts';
import type { ClusterRollout } from '../schemas/cluster-rollout.ts';
import type { FleetPlan } from './fleet-text.ts';
import { bytesText } from './output.ts';
import { planEstimateMs } from './plan-text.ts';

interface Measured {
  readonly bytes: number | null;
  readonly refusals: readonly string[];
}

/** Asks the agents of the first `measure` clusters: each reads its whole log once. */
export async function planFleet(given: {
  readonly fleet: string;
  readonly rollouts: readonly ClusterRollout[];
  readonly measure: number;
  readonly clusters: Clusters;
}): Promise<FleetPlan> {
  const { fleet, rollouts, measure, clusters } = given;
  const measured = new Map<string, Measured>();
  for (const rollout of rollouts.slice(0, measure)) {
    measured.set(rollout.cluster, await measureCluster(clusters, rollout));
  }
  const known = [...measured.values()].flatMap(({ bytes }) => (bytes === null ? [] : [bytes]));
  const meanBytes = known.reduce((sum, bytes) => sum + bytes, 0) / Math.max(1, known.length);
  const bytesOf = ({ cluster }: ClusterRollout) => measured.get(cluster)?.bytes ?? meanBytes;
  const policy = rollouts[0]?.policy;
  const waves = planWaves(policy?.waves ?? [], rollouts.length);
  return {
    fleet,
    waves: waves.map((wave) => ({ ...wave, estimateMs: estimateMs(wave) })),
    clusters: rollouts.map((rollout, position) => ({
      cluster: rollout.cluster,
      wave: waves.find(({ to }) => position < to)?.name ?? 'none',
      hosts: [...new Set(rollout.members.map(({ host }) => host))],
      members: rollout.members.length,
      bytes: measured.get(rollout.cluster)?.bytes ?? null,
      refusals: measured.get(rollout.cluster)?.refusals ?? [],
    })),
    machines: new Set(rollouts.flatMap(({ members }) => members.map(({ host }) => host))).size,
    bytes: rollouts.reduce((sum, rollout) => sum + bytesOf(rollout), 0),
    assumptions: [
      known.length === 0
        ? 'no agent was asked for sizes, or none answered: times count soaks alone'
        : `sizes of ${known.length} clusters are measured, the others taken to be like them: ${bytesText(meanBytes)} each`,
      'times assume that members go one after the other, and that nothing waits for an operator or a window',
    ],
  };

  /** Clusters of a wave share the window; the wave ends with the last one's soak. */
  function estimateMs({ from, to }: { readonly from: number; readonly to: number }): number {
    const movesMs = rollouts
      .slice(from, to)
      .reduce((sum, rollout) => sum + planEstimateMs(bytesOf(rollout)), 0);
    const atOnce = Math.min(to - from, policy?.concurrency.clusters ?? 1);
    return movesMs / atOnce + (policy?.soakSeconds ?? 0) * 1000;
  }
}

async function measureCluster(clusters: Clusters, rollout: ClusterRollout): Promise<Measured> {
  try {
    const { members, refusals } = await clusters.plan(rollout);
    const sizes = members.map(({ size }) => size?.bytes ?? null);
    const isWhole = sizes.every((size) => size !== null);
    const findings = members.flatMap(({ member, problem, findings: found }) => [
      ...(problem === null ? [] : [`${member}: ${problem}`]),
      ...found
        .filter(({ ok }) => !ok)
        .map(({ check, measured }) => `${member}: ${check}: ${measured}`),
    ]);
    return {
      bytes: isWhole ? sizes.reduce((sum, size) => sum + size, 0) : null,
      refusals: [...refusals.map(({ reason }) => reason), ...findings],
    };
  } catch (error) {
    return { bytes: null, refusals: [messageOf(error)] };
  }
}

/** What a fleet's rollout says of itself. */
import { reportOf } from './fleet-clusters.ts';
import type { FleetState } from './fleet-state.ts';
import type { Waiting } from './messages.ts';
import type { FleetStatus, RolloutWaiting, WaveStatus } from './rollout-messages.ts';
import { storeWaiting } from './store-records.ts';

/** Clusters that a status names: a message stays below some ten kB. */
const namedClusters = 100;

export function fleetStatus(state: FleetState): FleetStatus {
  const { request, positions, waves, paused, bytesPerSecond, outcome, startedMs } = state;
  const { fleet, rolloutId, snapshot, policy } = request;
  const wave = state.wave;
  const failed = state.members('failed');
  return {
    fleet,
    rolloutId,
    snapshot,
    policy,
    wave,
    paused,
    bytesPerSecond,
    outcome,
    startedMs,
    stage: stageOf(state),
    waves: waves.map(({ name, from, to }, number) => ({
      name,
      upTo: to,
      state: waveState(state, {
        number,
        wave,
        begun: positions.cursor >= to,
        failed: failed.some(({ position }) => position >= from && position < to),
      }),
    })),
    counts: state.counts(),
    clusters: [...state.open.values()]
      .toSorted((a, b) => rank(a.standing) - rank(b.standing) || a.position - b.position)
      .slice(0, namedClusters)
      .map((member) => ({
        ...reportOf(member, rolloutId),
        wave: waves.findIndex(({ to }) => member.position < to),
      })),
    waiting: fleetWaiting(state),
    actions: actionsOf(state),
  };
}

function rank(standing: string): number {
  return ['failed', 'foreign', 'under-way', 'between-steps', 'ended'].indexOf(standing) >>> 0;
}

function stageOf(state: FleetState): FleetStatus['stage'] {
  if (state.outcome !== null) return 'ended';
  if (state.stopped !== null) return 'stopped';
  if (state.rollback !== null) return 'rolling-back';
  if (state.budgetSpent) return 'budget-spent';
  const { begun, total, moving } = state.counts();
  return total > 0 && begun === total && moving === 0 ? 'finalizing' : 'running';
}

function waveState(
  state: FleetState,
  at: {
    readonly number: number;
    readonly wave: number;
    readonly begun: boolean;
    readonly failed: boolean;
  },
): WaveStatus['state'] {
  if (at.failed) return 'failed';
  if (at.number < at.wave) return 'done';
  if (at.number > at.wave) return 'pending';
  if (state.approvedWaves <= at.number) return 'approval';
  if (!at.begun) return 'running';
  return state.members('under-way', 'between-steps', 'foreign').length > 0 ? 'running' : 'soaking';
}

/** Null while something moves by itself. */
export function fleetWaiting(state: FleetState): RolloutWaiting | null {
  if (state.outcome !== null) return null;
  const waiting = findWaiting(state);
  if (waiting === null) return null;
  const same = state.waiting?.kind === waiting.kind;
  return { ...waiting, sinceMs: same && state.waiting ? state.waiting.sinceMs : Date.now() };
}

function findWaiting(state: FleetState): Omit<RolloutWaiting, 'sinceMs'> | null {
  const { stopped, request, window, storeProblem } = state;
  const { policy } = request;
  if (stopped !== null) {
    const reason = `${stopped.by} stopped it: ${stopped.reason}`;
    return { kind: 'stopped', reason, remedy: 'resume, or roll back' };
  }
  if (state.paused) {
    return { kind: 'paused', reason: 'an operator paused it', remedy: 'resume' };
  }
  if (storeProblem !== null) {
    return storeWaiting(storeProblem.reason);
  }
  if (state.rollback !== null) return null;
  const names = state.members('failed').map(({ cluster }) => cluster);
  const remedy = 'mend the cause, then resume; or skip the cluster, or roll back';
  if (state.budgetSpent) {
    // Those are tried again; the others wait for how that ends.
    if (names.length === 0) return null;
    const reason = `${state.failures} of ${state.total} clusters failed, more than ${policy.failureBudget}: ${firstOf(names)}`;
    return { kind: 'budget', reason, remedy };
  }
  const { begun, total, moving, soaking } = state.counts();
  const wave = state.waves[state.wave];
  const isShut = window !== null && !window.open;
  if (begun < total && wave !== undefined && !state.isLate) {
    if (state.approvedWaves <= state.wave) {
      const reason = `${wave.name} (clusters ${wave.from + 1} to ${wave.to}) needs approval`;
      return { kind: 'wave-approval', reason, remedy: 'approve' };
    }
    if (isShut) return shut(window);
    const { soaking: limit } = policy.concurrency;
    if (limit !== null && moving + soaking >= limit && moving === 0) {
      const reason = `${soaking} clusters soak, as many as may at once`;
      return { kind: 'soak', reason, remedy: 'wait, or complete' };
    }
    // The next ones begin in a moment.
    if (begun < wave.to) return null;
  }
  const between = state.members('between-steps').length;
  if (isShut && between > 0 && between === moving) return shut(window);
  if (moving > 0) return null;
  if (names.length > 0) {
    return { kind: 'failed', reason: `failed: ${firstOf(names)}`, remedy };
  }
  if (soaking > 0) {
    const soaked = state.members('soaked').length;
    const manual = policy.finalize === 'manual' && soaked === soaking;
    const reason = manual
      ? `${soaked} clusters have soaked; their sources are kept until finalize`
      : `${soaking} clusters soak`;
    const kind: Waiting['kind'] = manual ? 'finalize' : 'soak';
    return { kind, reason, remedy: manual ? 'complete, or roll back' : 'wait' };
  }
  return null;
}

function shut({ untilMs }: { readonly untilMs: number | null }): Omit<RolloutWaiting, 'sinceMs'> {
  const opens = untilMs === null ? 'never' : new Date(untilMs).toISOString();
  const reason = `outside of its windows no cluster begins; the next opens: ${opens}`;
  return { kind: 'window', reason, remedy: 'wait' };
}

function firstOf(names: readonly string[]): string {
  const shown = names.slice(0, 5).join(', ');
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown;
}

function actionsOf(state: FleetState): string[] {
  if (state.outcome !== null) return [];
  const { failed, soaking } = state.counts();
  const asks = state.request.policy.approval === 'per-wave' && state.approvedWaves <= state.wave;
  return [
    ...(state.holds || failed > 0 ? ['resume'] : []),
    ...(state.holds ? [] : ['pause']),
    ...(state.stopped === null ? ['stop'] : []),
    ...(asks && state.wave < state.waves.length ? ['approve'] : []),
    ...(state.rollback === null ? ['rollback'] : []),
    ...(soaking > 0 ? ['complete'] : []),
    'skip',
    'throttle',
  ];
}

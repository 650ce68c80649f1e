/** What a cluster's rollout says of itself, and what may be wished of it as it stands. */
import type { ClusterState } from './cluster-state.ts';
import type { ClusterReport, ClusterStatus } from './rollout-messages.ts';
import { isOpen, isWaitingPaused, memberStatus, type TrackedMember } from './tracked-members.ts';

export function clusterStatus(state: ClusterState): ClusterStatus {
  const { rollout, stage, members, order, waiting, refusals, paused, outcome } = state;
  return {
    rollout,
    stage,
    members: members.map(memberStatus),
    order,
    waiting,
    refusals,
    paused,
    actions: actionsOf(state),
    outcome,
  };
}

/** @param seq raised with each report */
export function clusterReport(state: ClusterState, seq: number): ClusterReport {
  const { rollout, stage, waiting, outcome, moved, endReason } = state;
  const [undecided] = state.undecided;
  return {
    cluster: rollout.cluster,
    rolloutId: rollout.rolloutId,
    seq,
    stage,
    waiting,
    moved,
    total: rollout.members.length,
    outcome,
    reason: endReason ?? undecided?.reason ?? null,
  };
}

export function canGoBack({ stage, report, takenBack, migrationId }: TrackedMember): boolean {
  if (takenBack === 'out' || report?.outcome === 'rolled-back') return false;
  if (stage === 'pending') return migrationId !== null;
  return ['moving', 'soaking', 'failed'].includes(stage);
}

export function canBeSkipped({ foreign }: ClusterState, member: TrackedMember): boolean {
  const { stage, report } = member;
  if (stage === 'rolled-back') return true;
  const { member: name } = member.spec;
  if (stage === 'pending') return member.migrationId === null || foreign?.member === name;
  return stage === 'failed' && !isOpen(member) && (report?.phase ?? 'ended') === 'ended';
}

function actionsOf(state: ClusterState): string[] {
  if (state.outcome !== null) return [];
  const { members, paused, stage, undecided } = state;
  const stands = paused || members.some(isWaitingPaused);
  const stops = undecided.length > 0 || stage === 'preflight' || stands;
  return [
    ...(paused ? [] : ['pause']),
    ...(stops ? ['resume'] : []),
    ...(state.isApproved ? [] : ['approve']),
    ...(members.some((one) => canBeSkipped(state, one)) ? ['skip'] : []),
    ...(members.some(canGoBack) ? ['rollback'] : []),
    ...(state.of('soaking').length > 0 ? ['complete'] : []),
    'throttle',
    'abandon',
  ];
}

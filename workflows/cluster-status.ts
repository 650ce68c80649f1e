/** What a cluster's rollout says of itself, and what may be wished of it as it stands. */
import type { ClusterState } from './cluster-state.ts';
import type { SentClusterReport, ClusterStatus, RolloutWaiting } from './rollout-messages.ts';
import { storeWaiting } from './store-records.ts';
import { isOpen, isWaitingPaused, memberStatus, type TrackedMember } from './tracked-members.ts';

export function clusterStatus(state: ClusterState): ClusterStatus {
  const { rollout, stage, members, order, refusals, paused, outcome } = state;
  return {
    rollout,
    stage,
    members: members.map(memberStatus),
    order,
    waiting: waitingOf(state),
    refusals,
    paused,
    actions: actionsOf(state),
    outcome,
  };
}

/** @param seq raised with each report */
export function clusterReport(state: ClusterState, seq: number): SentClusterReport {
  const { rollout, stage, outcome, moved, endReason } = state;
  const [undecided] = state.undecided;
  return {
    cluster: rollout.cluster,
    rolloutId: rollout.rolloutId,
    seq,
    stage,
    waiting: waitingOf(state),
    moved,
    total: rollout.members.length,
    outcome,
    reason: endReason ?? undecided?.reason ?? null,
    ...(state.waitsForSlot && { hosts: rollout.members.map(({ host }) => host) }),
  };
}

/** A store that takes no line holds up whatever comes after that, but what holds still. */
export function waitingOf({ waiting, storeProblem }: ClusterState): RolloutWaiting | null {
  if (storeProblem === null) return waiting;
  const { sinceMs } = storeProblem;
  const store = storeWaiting(storeProblem.reason);
  if (waiting?.kind !== 'paused') return { ...store, sinceMs };
  const reason = `${waiting.reason}; ${store.reason}`;
  return { ...waiting, reason, remedy: `${waiting.remedy}; ${store.remedy}` };
}

export function canGoBack({ stage, report, takenBack, migrationId }: TrackedMember): boolean {
  if (takenBack === 'out' || report?.outcome === 'rolled-back') return false;
  if (stage === 'pending') return migrationId !== null;
  return ['moving', 'soaking', 'failed'].includes(stage);
}

export function canBeSkipped(state: ClusterState, member: TrackedMember): boolean {
  const { stage, report } = member;
  if (stage === 'rolled-back') return true;
  const { member: name } = member.spec;
  if (stage === 'pending') return member.migrationId === null || state.foreignTo(name) !== null;
  return stage === 'failed' && !isOpen(member) && (report?.phase ?? 'ended') === 'ended';
}

function actionsOf(state: ClusterState): string[] {
  if (state.isOver || state.abandonWish !== null) return [];
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

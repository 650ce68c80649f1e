/** Tells the fleet that coordinates a cluster's rollout how it stands, whenever that changes. */
import { condition, getExternalWorkflowHandle } from '@temporalio/workflow';

import type { ClusterState } from './cluster-state.ts';
import { waitingOf } from './cluster-status.ts';
import { clusterReportSignal, type RolloutWaiting } from './rollout-messages.ts';

/** Until it is over; a fleet that is gone holds up a second step alone. */
export async function reportToFleet(state: ClusterState, isOver: () => boolean): Promise<void> {
  let told = '';
  const matters = () => state.coordinator !== null && whatMatters(state) !== told;
  for (;;) {
    await condition(() => matters() || isOver());
    // What has changed may have changed back by now.
    if (!matters() || state.coordinator === null) {
      if (isOver()) return;
      continue;
    }
    told = whatMatters(state);
    await getExternalWorkflowHandle(state.coordinator)
      .signal(clusterReportSignal, state.report())
      .catch(() => {});
  }
}

function whatMatters(state: ClusterState): string {
  const { coordinator, coordinatedAt, stage, moved, outcome, undecided } = state;
  const failed = undecided.map(({ spec, reason }) => [spec.member, reason]);
  return JSON.stringify([
    coordinator,
    coordinatedAt,
    stage,
    whyOf(waitingOf(state)),
    moved,
    failed,
    outcome,
  ]);
}

/** How a member gets on is its own to say, and what a look finds changes with each look. */
function whyOf(waiting: RolloutWaiting | null): readonly string[] | null {
  if (waiting === null || waiting.kind === 'member') return null;
  return waiting.kind === 'health' ? [waiting.kind] : [waiting.kind, waiting.reason];
}

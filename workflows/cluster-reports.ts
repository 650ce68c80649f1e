/** Tells the fleet that coordinates a cluster's rollout how it stands, whenever that changes. */
import { condition, getExternalWorkflowHandle } from '@temporalio/workflow';

import type { ClusterState } from './cluster-state.ts';
import { clusterReportSignal } from './rollout-messages.ts';

/** Until it is over; a fleet that is gone holds nothing up. */
export async function reportToFleet(state: ClusterState, isOver: () => boolean): Promise<void> {
  let told = '';
  const matters = () => state.coordinator !== null && whatMatters(state) !== told;
  for (;;) {
    await condition(() => matters() || isOver());
    if (!matters() || state.coordinator === null) return;
    told = whatMatters(state);
    await getExternalWorkflowHandle(state.coordinator)
      .signal(clusterReportSignal, state.report())
      .catch(() => {});
  }
}

function whatMatters(state: ClusterState): string {
  const { coordinator, coordinatedAt, stage, waiting, moved, outcome, undecided } = state;
  const failed = undecided.map(({ spec, reason }) => [spec.member, reason]);
  // How members get on is their own to say, and looks at the group change: a fleet hears of many.
  const kind = waiting === null || waiting.kind === 'member' ? null : waiting.kind;
  const why = kind === null || kind === 'health' ? kind : [kind, waiting?.reason];
  return JSON.stringify([coordinator, coordinatedAt, stage, why, moved, failed, outcome]);
}

/** What the parts of a rollout share: what it knows, does, waits for and writes down. */
import type { ClusterCalls } from './cluster-calls.ts';
import type { ClusterState } from './cluster-state.ts';
import type { ClusterTrail } from './cluster-trail.ts';
import type { ClusterWaitReason, ClusterWaits } from './cluster-waits.ts';
import type { TrackedMember } from './tracked-members.ts';

export interface RolloutParts {
  readonly state: ClusterState;
  readonly calls: ClusterCalls;
  readonly waits: ClusterWaits;
  readonly trail: ClusterTrail;
}

/** Members that say nothing are asked after this, whether their workflows still run. */
export const silenceMs = 10 * 60_000;

/** Of one that soaks or waits for an operator, perhaps for weeks: each report is in its history. */
const idleSilenceMs = 60 * 60_000;

/** An order that changed nothing is given again after this: it crossed with a report. */
export const tellAgainMs = 15_000;

/** Until something is heard, be it after weeks. */
export async function idle(
  { calls, waits }: RolloutParts,
  waiting: ClusterWaitReason,
): Promise<void> {
  if (!(await waits.forNews(waiting, idleSilenceMs))) await calls.attachOpen();
}

export function memberWait({ spec }: TrackedMember, says: string): ClusterWaitReason {
  const reason = `${spec.member} ${says}`;
  return { kind: 'member', reason, remedy: 'see its own status for more' };
}

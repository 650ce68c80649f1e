/** What a cluster's status says of a member, for {@link ClusterEnvironment.until}. */
import type { ClusterStatus, MemberStage } from '../../workflows/rollout-messages.ts';

export function memberOf({ members }: ClusterStatus, name: string) {
  return members.find(({ member }) => member === name);
}

export function stage(member: string, is: MemberStage) {
  return (status: ClusterStatus) => memberOf(status, member)?.stage === is;
}

/** The member waits with its proof for the rollout's word. */
export function waitsForWord(member: string) {
  return (status: ClusterStatus) => memberOf(status, member)?.report?.waiting?.kind === 'approval';
}

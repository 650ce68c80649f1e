/** Asks every member of a group by its own agent, all at once. */
import type { BindingView } from '../activities/contract.ts';
import { contractVersion } from '../core/ids.ts';
import { isHalfWay } from '../core/phases.ts';
import type { GroupLook, SeenMember } from '../core/quorum.ts';
import type { ClusterRollout, RolloutMember } from '../schemas/cluster-rollout.ts';
import { agentCalls } from './agent-calls.ts';
import { describeFailure, isUnreachable } from './failures.ts';

export interface MemberLook extends SeenMember {
  readonly binding: BindingView | null;
  /** Its agent does not answer: nothing is known of its record. */
  readonly isAway: boolean;
}

export interface MembersLook extends GroupLook {
  readonly members: readonly MemberLook[];
}

export async function lookAtMembers({
  cluster,
  members,
  policy,
}: ClusterRollout): Promise<MembersLook> {
  const seen = await Promise.all(members.map((spec) => lookAt(cluster, spec)));
  return { members: seen, maxLagEntries: policy.maxLagEntries };
}

async function lookAt(
  cluster: string,
  { member, host, agentId, raftId }: RolloutMember,
): Promise<MemberLook> {
  try {
    const request = { contractVersion, agentId, replica: { cluster, member } };
    const answer = await agentCalls(host).ask.readMember(request);
    const { raft, problem, binding } = answer;
    const phase = binding?.phase ?? null;
    const halfWay = isHalfWay(phase) ? phase : null;
    return { member, raftId, raft, problem, halfWay, binding, isAway: false };
  } catch (error) {
    const problem = isUnreachable(error)
      ? `the agent of machine ${host} does not answer`
      : describeFailure(error).reason;
    const nothing = { raft: null, halfWay: null, binding: null };
    return { member, raftId, problem, isAway: true, ...nothing };
  }
}

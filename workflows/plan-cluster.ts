/** What a rollout would find: its order, what speaks against it now, each member's checks. */
import type { Finding } from '../activities/contract.ts';
import { contractVersion } from '../core/ids.ts';
import { orderOf, refusalsOf, type Refusal } from '../core/quorum.ts';
import type { ClusterRollout } from '../schemas/cluster-rollout.ts';
import { agentCalls } from './agent-calls.ts';
import { lookAtMembers } from './cluster-look.ts';
import { areOfHostAway, describeFailure, isUnreachable } from './failures.ts';
import { memberInput, memberMigrationId } from './member-input.ts';
import type { MemberSize } from './rollout-messages.ts';

export interface MemberPlan {
  readonly member: string;
  readonly host: string;
  readonly findings: readonly Finding[];
  /** Null where its agent gave no answer; `problem` says why. */
  readonly size: MemberSize | null;
  readonly problem: string | null;
}

export interface ClusterPlan {
  readonly order: readonly string[];
  /** Against taking the first of them now. */
  readonly refusals: readonly Refusal[];
  readonly members: readonly MemberPlan[];
}

export async function planCluster(rollout: ClusterRollout): Promise<ClusterPlan> {
  const look = await lookAtMembers(rollout);
  const members = await Promise.all(
    rollout.members.map(({ member }) => planMember(rollout, member)),
  );
  const pending = rollout.members.map(({ member }) => member);
  const order = orderOf(look, { pending, first: rollout.policy.order });
  const [first = ''] = order;
  const mode = members.find(({ member }) => member === first)?.size?.mode ?? 'stopped';
  const candidate = { member: first, staysUp: mode === 'live', isUnderWay: false };
  return { order, refusals: refusalsOf(look, candidate), members };
}

/** Every check of a member's migration; changes nothing. */
export async function planMember(
  rollout: ClusterRollout,
  name: string,
  { step, attempt }: { readonly step: 'storage' | 'binary'; readonly attempt: number } = {
    step: rollout.policy.shape === 'binary' ? 'binary' : 'storage',
    attempt: 1,
  },
): Promise<MemberPlan & { readonly isAway: boolean }> {
  const spec = rollout.members.find(({ member }) => member === name);
  if (spec === undefined) throw new Error(`no member ${name}`);
  const { member, host } = spec;
  const { rolloutId } = rollout;
  const migrationId = memberMigrationId({ rolloutId, step, attempt });
  const input = memberInput({ rollout, spec, step, migrationId });
  const calls = agentCalls(host);
  try {
    const { agentId } = await calls.ask.ping();
    const request = { contractVersion, agentId, replica: input.replica, input };
    const { findings, entries, bytes, mode } = await calls.measure.preflight(request);
    const size = { mode, entries, bytes };
    const isAway = areOfHostAway(findings.filter(({ ok }) => !ok));
    const plan = { member, host, size, problem: null, isAway };
    if (isAway || rollout.policy.shape !== 'staged' || step === 'binary') {
      return { ...plan, findings };
    }
    // What its second step needs is checked before the first one changes anything.
    const second = { ...input, source: spec.source, target: spec.source, mode: 'binary' } as const;
    const later = await calls.measure.preflight({ ...request, input: second });
    const isNew = ({ check }: Finding) => findings.every((known) => known.check !== check);
    return { ...plan, findings: [...findings, ...later.findings.filter(isNew)] };
  } catch (error) {
    const isAway = isUnreachable(error);
    const problem = isAway
      ? `the agent of machine ${host} does not answer`
      : describeFailure(error).reason;
    return { member, host, findings: [], size: null, problem, isAway };
  }
}

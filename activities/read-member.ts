/** What a rollout asks of one member before it touches any: the member itself, and its record. */
import { fail, messageOf } from '../core/errors.ts';
import { parseReplica, replicaText, type ReplicaName } from '../core/ids.ts';
import type { AgentConfig } from '../schemas/agent-config.ts';
import { checkAddressee, presentView, recordStore, type AgentContext } from './agent-context.ts';
import type { MemberAnswer, MemberRequest, TransferRequest } from './contract.ts';

/** Enough to see why; far below what a workflow's history may hold. */
const shownCharacters = 500;

/**
 * A member that gives no answer is an answer: `raft` is null, and `problem` says why.
 * @throws `agent.wrong-machine`, `agent.contract-version`; `record.corrupt`: a record that cannot be
 *   read does not mean that there is none
 */
export async function readMember(
  context: AgentContext,
  request: MemberRequest,
): Promise<MemberAnswer> {
  checkMemberAddressee(context, request);
  const [record, asked] = await Promise.all([
    recordStore(context, request).read(),
    askMember(context, request.replica),
  ]);
  return {
    ...asked,
    binding: record && presentView(record),
    sharesProcessWith: sameProcess(context.config, request.replica),
  };
}

/**
 * @throws `member.no-adapter`, `member.transfer-failed`, `agent.wrong-machine`,
 *   `agent.contract-version`
 */
export async function transferLeadership(
  context: AgentContext,
  request: TransferRequest,
): Promise<void> {
  checkMemberAddressee(context, request);
  const { to } = request;
  const replica = replicaText(request.replica);
  const action = 'hand over the leadership of';
  const adapter = context.memberAdapter(request.replica);
  if (adapter === null) throw fail('member.no-adapter', { action, replica, actual: 'no adapter' });
  if (adapter.transferLeadership === null) {
    const actual = 'its adapter has no "transferLeadership"';
    throw fail('member.no-adapter', { action, replica, actual });
  }
  try {
    await adapter.transferLeadership(to);
  } catch (cause) {
    const reason = reasonOf(cause);
    throw fail('member.transfer-failed', { replica, to, reason }, { cause });
  }
}

async function askMember(
  { memberAdapter }: AgentContext,
  replica: ReplicaName,
): Promise<Pick<MemberAnswer, 'raft' | 'problem'>> {
  const adapter = memberAdapter(replica);
  if (adapter === null) {
    const problem = `the agent's configuration has no adapter for cluster ${replica.cluster}`;
    return { raft: null, problem };
  }
  try {
    return { raft: await adapter.view(), problem: null };
  } catch (error) {
    return { raft: null, problem: reasonOf(error) };
  }
}

function reasonOf(error: unknown): string {
  return messageOf(error).slice(0, shownCharacters);
}

function sameProcess({ replicas }: AgentConfig, replica: ReplicaName): ReplicaName[] {
  const own = replicaText(replica);
  const process = replicas[own]?.process;
  if (process === undefined) return [];
  return Object.entries(replicas)
    .filter(([name, other]) => name !== own && other.process === process)
    .map(([name]) => parseReplica(name));
}

/** The agent is named where it is pinned. */
function checkMemberAddressee(context: AgentContext, request: MemberRequest): void {
  checkAddressee(context, { ...request, agentId: request.agentId ?? context.agentId });
}

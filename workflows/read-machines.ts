/** Asks agents of their machines, all at once; changes nothing. Callers bound how many. */
import { proxyActivities } from '@temporalio/workflow';

import type {
  ControlActivities,
  ListProofsRequest,
  ListReplicasRequest,
  MachineAnswer,
  ProofPage,
  ProofPart,
  ReadProofRequest,
  ReplicaPage,
} from '../activities/contract.ts';
import { contractVersion, hostControlTaskQueue } from '../core/ids.ts';
import { describeFailure, isUnreachable } from './failures.ts';
import { askAgent } from './retry-policies.ts';

/** An agent that is there answers in milliseconds. */
const patienceMs = 5_000;

/** A machine's answer, or why there is none. */
export type Asked<Answer> = { readonly host: string } & (
  | { readonly answer: Answer; readonly problem: null }
  | { readonly answer: null; readonly problem: string }
);

export function readMachines(given: {
  readonly hosts: readonly string[];
}): Promise<Asked<MachineAnswer>[]> {
  return askAll(given.hosts, (host) => callsOf(host).readMachine());
}

/** A page of each machine's replicas. */
export function listMachineReplicas(given: {
  readonly pages: readonly (Omit<ListReplicasRequest, 'contractVersion'> & {
    readonly host: string;
  })[];
}): Promise<Asked<ReplicaPage>[]> {
  const byHost = new Map(given.pages.map(({ host, ...page }) => [host, page]));
  return askAll([...byHost.keys()], (host) => {
    const { after = null, limit = 1 } = byHost.get(host) ?? {};
    return callsOf(host).listReplicas({ contractVersion, after, limit });
  });
}

/** Of one replica, as the machine has them that it lies on. */
export function listReplicaProofs({
  host,
  ...page
}: Omit<ListProofsRequest, 'contractVersion'> & { readonly host: string }): Promise<
  Asked<ProofPage>[]
> {
  return askAll([host], () => callsOf(host).listProofs({ contractVersion, ...page }));
}

export function readReplicaProof({
  host,
  ...part
}: Omit<ReadProofRequest, 'contractVersion'> & { readonly host: string }): Promise<
  Asked<{ readonly part: ProofPart | null }>[]
> {
  return askAll([host], async () => ({
    part: await callsOf(host).readProof({ contractVersion, ...part }),
  }));
}

function callsOf(host: string) {
  return proxyActivities<ControlActivities>({
    ...askAgent,
    scheduleToCloseTimeout: patienceMs,
    taskQueue: hostControlTaskQueue(host),
  });
}

function askAll<Answer>(
  hosts: readonly string[],
  ask: (host: string) => Promise<Answer>,
): Promise<Asked<Answer>[]> {
  return Promise.all(
    hosts.map(async (host): Promise<Asked<Answer>> => {
      try {
        return { host, answer: await ask(host), problem: null };
      } catch (error) {
        const problem = isUnreachable(error)
          ? `its agent did not answer within ${patienceMs / 1000} s`
          : describeFailure(error).reason;
        return { host, answer: null, problem };
      }
    }),
  );
}

/** Asks the agents of many machines, a bounded number at once. Changes nothing. */
import { randomUUID } from 'node:crypto';

import { TimeoutFailure, WorkflowFailedError, type Client } from '@temporalio/client';

import type {
  HostedReplica,
  ListProofsRequest,
  MachineAnswer,
  ProofPage,
  ProofPart,
  ReplicaPage,
} from '../activities/contract.ts';
import { fail } from '../core/errors.ts';
import { controlTaskQueue, replicaText, type ReplicaName } from '../core/ids.ts';
import type {
  Asked,
  listMachineReplicas,
  listReplicaProofs,
  readMachines,
  readReplicaProof,
} from '../workflows/read-machines.ts';

/** Machines that one workflow asks at once. */
const atOnce = 16;

/** Each agent has 5 s; the rest is the control worker's. */
const patienceMs = 20_000;

/** Some 200 bytes each. */
const pageReplicas = 40;

type PageRequest = Parameters<typeof listMachineReplicas>[0]['pages'][number];

export class MachineClient {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  /** In the order of `hosts`. @throws `control.no-worker` */
  async machines(hosts: readonly string[]): Promise<Asked<MachineAnswer>[]> {
    const asked: Asked<MachineAnswer>[] = [];
    for (let at = 0; at < hosts.length; at += atOnce) {
      const some = hosts.slice(at, at + atOnce);
      asked.push(...(await this.#run<typeof readMachines>('readMachines', { hosts: some })));
    }
    return asked;
  }

  /** All replicas of each machine, in the order of `hosts`. @throws `control.no-worker` */
  async replicas(hosts: readonly string[]): Promise<Asked<readonly HostedReplica[]>[]> {
    const found: Asked<readonly HostedReplica[]>[] = [];
    for (let at = 0; at < hosts.length; at += atOnce) {
      found.push(...(await this.#replicasOf(hosts.slice(at, at + atOnce))));
    }
    return found;
  }

  /**
   * Proofs and reports of a replica, the newest first.
   * @throws `control.no-worker`, `agent.unreachable`
   */
  async proofs(
    host: string,
    request: Omit<ListProofsRequest, 'contractVersion'>,
  ): Promise<ProofPage> {
    const given = { host, ...request };
    const [asked] = await this.#run<typeof listReplicaProofs>('listReplicaProofs', given);
    return answerOf(asked, host);
  }

  /**
   * The bytes of one of them.
   * @throws `control.no-worker`, `agent.unreachable`, `proof.not-found`
   */
  async proof(host: string, replica: ReplicaName, file: string): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let from: number | null = 0; from !== null;) {
      const part = await this.#partOf({ host, replica, file, from });
      if (part === null) {
        throw fail('proof.not-found', { file, replica: replicaText(replica), host });
      }
      parts.push(Buffer.from(part.base64, 'base64'));
      from = part.next;
    }
    return Buffer.concat(parts);
  }

  async #partOf(given: Parameters<typeof readReplicaProof>[0]): Promise<ProofPart | null> {
    const [asked] = await this.#run<typeof readReplicaProof>('readReplicaProof', given);
    return answerOf(asked, given.host).part;
  }

  async #replicasOf(hosts: readonly string[]): Promise<Asked<readonly HostedReplica[]>[]> {
    const found = new Map<string, HostedReplica[]>(hosts.map((host) => [host, []]));
    const problems = new Map<string, string>();
    let open: PageRequest[] = hosts.map((host) => ({ host, after: null, limit: pageReplicas }));
    while (open.length > 0) {
      const asked: Asked<ReplicaPage>[] = await this.#run<typeof listMachineReplicas>(
        'listMachineReplicas',
        { pages: open },
      );
      open = [];
      for (const { host, answer, problem } of asked) {
        if (answer === null) problems.set(host, problem);
        else found.get(host)?.push(...answer.replicas);
        const after = answer?.next ?? null;
        if (after !== null) open.push({ host, after, limit: pageReplicas });
      }
    }
    return hosts.map((host): Asked<readonly HostedReplica[]> => {
      const problem = problems.get(host);
      if (problem !== undefined) return { host, answer: null, problem };
      return { host, answer: found.get(host) ?? [], problem: null };
    });
  }

  async #run<Workflow extends (given: never) => Promise<unknown>>(
    type: string,
    given: Parameters<Workflow>[0],
  ): Promise<Awaited<ReturnType<Workflow>>> {
    try {
      const result: unknown = await this.#client.workflow.execute(type, {
        workflowId: `ask/${randomUUID()}`,
        taskQueue: controlTaskQueue,
        args: [given],
        workflowExecutionTimeout: patienceMs,
      });
      return result as Awaited<ReturnType<Workflow>>;
    } catch (error) {
      const timedOut =
        error instanceof WorkflowFailedError && error.cause instanceof TimeoutFailure;
      if (!timedOut) throw error;
      const details = { action: 'ask the agents', waitedMs: patienceMs };
      throw fail('control.no-worker', details, { cause: error });
    }
  }
}

/** @throws `agent.unreachable` */
function answerOf<Answer>(asked: Asked<Answer> | undefined, host: string): Answer {
  if (asked !== undefined && asked.problem === null) return asked.answer;
  throw fail('agent.unreachable', { host, reason: asked?.problem ?? 'it was not asked' });
}

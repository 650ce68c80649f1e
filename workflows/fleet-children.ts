/**
 * Starts the clusters' workflows, tells them what to do, and finds out about those that are not
 * heard from. A child outlives the fleet: it is started with ABANDON under an id that follows from
 * its name, and reports by signal to the fleet's id.
 */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  condition,
  getExternalWorkflowHandle,
  startChild,
  uuid4,
  workflowInfo,
} from '@temporalio/workflow';

import { messageOf } from '../core/errors.ts';
import type { RunAnswer } from '../activities/contract.ts';
import { clusterWorkflowId, fleetWorkflowId } from '../core/ids.ts';
import { attributePairs } from './attributes.ts';
import type { FleetMember } from './fleet-clusters.ts';
import type { FleetRecords } from './fleet-records.ts';
import type { FleetState } from './fleet-state.ts';
import {
  clusterOrderSignal,
  coordinateClusterSignal,
  type MigrateClusterRequest,
  type MigrateClusterResult,
} from './rollout-messages.ts';

/** Below the server's 2,000 pending signals of one workflow. */
const signalsAtOnce = 500;

/** Described by one activity. */
const describedAtOnce = 100;

type MigrateCluster = (request: MigrateClusterRequest) => Promise<MigrateClusterResult>;

export class FleetChildren {
  readonly #state: FleetState;
  readonly #records: FleetRecords;
  #sending = false;

  constructor(state: FleetState, records: FleetRecords) {
    this.#state = state;
    this.#records = records;
  }

  /** Resolves once it runs, whoever had started it. */
  async start(member: FleetMember): Promise<void> {
    member.starting = true;
    try {
      await this.#start(member);
    } finally {
      this.#state.started(member);
    }
  }

  async #start(member: FleetMember): Promise<void> {
    const { request, holds, bytesPerSecond, deadlineAtMs } = this.#state;
    const { cluster } = member;
    const { fleet, rolloutId, snapshot, searchAttributes = [] } = request;
    const wave = this.#state.waves.find(({ to }) => member.position < to)?.name ?? '';
    member.absent = false;
    member.reason = null;
    try {
      const child = await startChild<MigrateCluster>('migrateCluster', {
        workflowId: clusterWorkflowId(cluster),
        args: [
          {
            rollout: { kind: 'snapshot', snapshot, cluster, rolloutId },
            coordinator: fleetWorkflowId(fleet),
            paused: holds,
            bytesPerSecond,
            deadlineAtMs,
            searchAttributes,
          },
        ],
        memo: { rolloutId, fleet },
        typedSearchAttributes: attributePairs(searchAttributes, {
          QuorumshiftFleet: fleet,
          QuorumshiftCluster: cluster,
          QuorumshiftWave: wave,
          QuorumshiftState: 'preflight',
        }),
        parentClosePolicy: 'ABANDON',
        cancellationType: 'ABANDON',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      });
      void child.result().then(
        ({ outcome, reason }) => {
          if (member.standing !== 'ended' && !member.absent)
            this.#state.ends(member, outcome, reason);
        },
        (error: unknown) => this.#lose(member, describe(error)),
      );
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      await this.attach(member);
      return;
    }
    this.#catchUp(member, { paused: holds, bytesPerSecond });
  }

  /** Finds the cluster's workflow running already. */
  async attach(member: FleetMember): Promise<void> {
    const [run] = await this.#describe([member]);
    if (run?.state !== 'running') this.#lose(member, 'its workflow has just ended');
    else if (run.rolloutId === this.#state.request.rolloutId) await this.coordinate([member]);
    else {
      // What was wished is for a rollout of ours.
      member.outbox.length = 0;
      member.standing = 'foreign';
      member.heardMs = Date.now();
      member.reason = `${member.cluster} is moved by another rollout, ${run.rolloutId ?? 'started alone'}`;
    }
    this.#state.version += 1;
  }

  /** Those whose workflows run for this rollout. */
  async running<Named extends { readonly cluster: string }>(clusters: readonly Named[]) {
    const { rolloutId } = this.#state.request;
    const runs = (await inSlices(clusters, (slice) => this.#describe(slice))).flat();
    const ours = new Set(
      runs.flatMap((run) =>
        run.state === 'running' && run.rolloutId === rolloutId ? run.workflowId : [],
      ),
    );
    return clusters.filter(({ cluster }) => ours.has(clusterWorkflowId(cluster)));
  }

  /** Asks for reports to this fleet, now and from now on, under its present wishes. */
  async coordinate(members: readonly FleetMember[]): Promise<void> {
    const coordinator = fleetWorkflowId(this.#state.request.fleet);
    await inChunks(members, signalsAtOnce, async (member) => {
      const handle = getExternalWorkflowHandle(clusterWorkflowId(member.cluster));
      const heard = await handle.signal(coordinateClusterSignal, { coordinator }).then(
        () => true,
        () => false,
      );
      if (heard) this.#catchUp(member, { paused: false, bytesPerSecond: null });
      else this.#lose(member, 'its workflow is gone');
    });
  }

  /** Of those that have not been heard from: which run no more. Those under way report again. */
  async check(members: readonly FleetMember[]): Promise<void> {
    const asked: FleetMember[] = [];
    for (const runs of await inSlices(members, (slice) => this.#describe(slice))) {
      for (const { workflowId, state, rolloutId } of runs) {
        const member = members.find(({ cluster }) => clusterWorkflowId(cluster) === workflowId);
        if (member === undefined || member.standing === 'ended') continue;
        member.heardMs = Date.now();
        if (state === 'running') {
          const isOurs = rolloutId === this.#state.request.rolloutId;
          if (isOurs && member.standing === 'under-way') asked.push(member);
          continue;
        }
        if (member.standing === 'foreign') this.#free(member);
        else this.#lose(member, 'its workflow is gone, without a report');
      }
    }
    await this.coordinate(asked);
    this.#state.version += 1;
  }

  /** Sends what is in the outboxes: to each cluster one after another, to all at once. */
  async deliver(ended: () => boolean): Promise<void> {
    const { mail } = this.#state;
    for (;;) {
      await condition(() => ended() || mail.size > 0);
      if (ended()) return;
      this.#sending = true;
      await inChunks([...mail], signalsAtOnce, (member) => this.#send(member));
      this.#sending = false;
    }
  }

  get isIdle(): boolean {
    return !this.#sending && this.#state.mail.size === 0;
  }

  async #send(member: FleetMember): Promise<void> {
    const order = member.outbox.shift();
    if (member.outbox.length === 0) this.#state.mail.delete(member);
    if (order === undefined) return;
    const by = workflowInfo().workflowId;
    const handle = getExternalWorkflowHandle(clusterWorkflowId(member.cluster));
    try {
      await handle.signal(clusterOrderSignal, { ...order, operationId: uuid4(), by });
    } catch {
      this.#lose(member, 'its workflow is gone');
    }
  }

  /** What was wished while it started; its wave is approved, or it would not have begun. */
  #catchUp(member: FleetMember, told: { paused: boolean; bytesPerSecond: number | null }): void {
    const { holds, bytesPerSecond, request } = this.#state;
    if (request.policy.approval === 'per-wave') this.#state.tell(member, { order: 'approve' });
    if (told.paused !== holds) this.#state.tell(member, { order: holds ? 'pause' : 'resume' });
    if (told.bytesPerSecond !== bytesPerSecond) {
      this.#state.tell(member, { order: 'throttle', bytesPerSecond });
    }
  }

  /**
   * Its workflow is gone, and has not said how it ended. Once, it is started again: what its
   * machines have recorded answers at once. Then an operator is asked.
   */
  #lose(member: FleetMember, reason: string): void {
    if (member.standing === 'ended' || member.absent) return;
    const again = member.lost === 0 && member.standing !== 'failed' && !member.rollingBack;
    member.lost += 1;
    member.outbox.length = 0;
    this.#state.mail.delete(member);
    member.absent = true;
    if (again) this.#free(member);
    else this.#state.fails(member, reason);
  }

  /** It begins once its slots are free. */
  #free(member: FleetMember): void {
    member.standing = 'failed';
    member.retry = true;
    member.absent = true;
    this.#state.version += 1;
  }

  async #describe(members: readonly { readonly cluster: string }[]): Promise<RunAnswer[]> {
    const workflowIds = members.map(({ cluster }) => clusterWorkflowId(cluster));
    return this.#records.insist(() => this.#records.store.describeRuns({ workflowIds }));
  }
}

async function inSlices<Item, Result>(
  items: readonly Item[],
  work: (slice: readonly Item[]) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  for (let from = 0; from < items.length; from += describedAtOnce) {
    results.push(await work(items.slice(from, from + describedAtOnce)));
  }
  return results;
}

async function inChunks<Item>(
  items: readonly Item[],
  size: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  for (let from = 0; from < items.length; from += size) {
    await Promise.all(items.slice(from, from + size).map(work));
  }
}

function describe(error: unknown): string {
  let cause = error;
  while (cause instanceof Error && cause.cause instanceof Error) cause = cause.cause;
  return messageOf(cause);
}

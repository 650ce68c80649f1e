/**
 * The typed way to plan, start, watch and steer a cluster's rollout. Starting twice with one id is
 * one rollout; starting it again after it was abandoned or terminated goes on where it was.
 */
import { createHash } from 'node:crypto';

import { type Client, type WorkflowExecutionDescription } from '@temporalio/client';

import { fail, hasCode } from '../core/errors.ts';
import { clusterWorkflowId, controlTaskQueue } from '../core/ids.ts';
import { rolloutText } from '../core/rollout-text.ts';
import type { ClusterRollout } from '../schemas/cluster-rollout.ts';
import type { Accepted } from '../workflows/messages.ts';
import type { migrateCluster } from '../workflows/migrate-cluster.ts';
import type { ClusterPlan, planCluster } from '../workflows/plan-cluster.ts';
import type { ClusterStatus, MigrateClusterResult } from '../workflows/rollout-messages.ts';
import { MigrationClient } from './migration-client.ts';
import type { MigrationReport } from './migrations.ts';
import { runPlan } from './run-plan.ts';
import { allOf, runPage, type Page, type Run, type RunPageRequest } from './run-page.ts';
import { notRunningError, rolloutStanding } from './rollout-runs.ts';
import { SearchAttributes } from './search-attributes.ts';
import { watchRuns, type WatchOptions } from './watch-runs.ts';
import {
  runState,
  WorkflowCalls,
  type ClientOptions,
  type OperationOptions,
  type RunState,
  type Subject,
} from './workflow-calls.ts';

const workflowIdPrefix = clusterWorkflowId('');

/** What a run was waiting for as it was abandoned, an agent at most, has answered by then. */
const endsWithinMs = 15_000;

/** What can be said of a rollout from outside, even when its workflow does not answer. */
export interface ClusterReportSeen {
  readonly cluster: string;
  readonly rolloutId: string | null;
  readonly run: RunState;
  readonly startedAt: string;
  readonly closedAt: string | null;
  /** Null when no worker answered within 2 s, or the history is gone. */
  readonly status: ClusterStatus | null;
  /** The migrations of the members that are open, as they say themselves. */
  readonly migrations: readonly MigrationReport[];
  /** Why the run failed. */
  readonly failure: string | null;
}

export interface StartedRollout {
  readonly cluster: string;
  readonly rolloutId: string;
  readonly workflowId: string;
  /** False when a rollout with this id runs, or has ended, already. */
  readonly fresh: boolean;
}

export interface ClusterListing {
  readonly cluster: string;
  readonly rolloutId: string | null;
  readonly run: RunState;
  readonly startedAt: string;
  readonly closedAt: string | null;
}

export class ClusterClient {
  readonly #client: Client;
  readonly #calls: WorkflowCalls;
  readonly #migrations: MigrationClient;
  readonly #searchAttributes: SearchAttributes;

  constructor(options: ClientOptions) {
    this.#client = options.client;
    this.#calls = new WorkflowCalls(options);
    this.#migrations = new MigrationClient(options);
    this.#searchAttributes = new SearchAttributes(options.client);
  }

  /**
   * Starts the rollout, or finds the one with the same id.
   * @throws `rollout.conflict` when the id was used with another input; `rollout.illegal-action`
   *   when another rollout of the cluster runs
   */
  async start(input: ClusterRollout): Promise<StartedRollout> {
    const { cluster, rolloutId } = input;
    const workflowId = clusterWorkflowId(cluster);
    const searchAttributes = await this.#searchAttributes.ours();
    const typedSearchAttributes = await this.#searchAttributes.pairs({
      QuorumshiftCluster: cluster,
    });
    const rollout = { kind: 'given', input } as const;
    await this.#untilEnded(cluster);
    const fresh = await this.#calls.startOnce(workflowId, {
      isSame: (run) => this.#isSame(run, input),
      start: () =>
        this.#client.workflow.start<typeof migrateCluster>('migrateCluster', {
          workflowId,
          taskQueue: controlTaskQueue,
          args: [{ rollout, coordinator: null, searchAttributes }],
          memo: { rolloutId, inputDigest: rolloutDigest(input) },
          typedSearchAttributes,
          workflowIdConflictPolicy: 'FAIL',
          workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        }),
    });
    return { cluster, rolloutId, workflowId, fresh };
  }

  /**
   * A run that was abandoned, or has come to its outcome, is over once that is written down:
   * whoever starts the rollout again means another. A store that is away is not waited for.
   */
  async #untilEnded(cluster: string): Promise<void> {
    const { workflowId } = subjectOf(cluster);
    const run = await this.#calls.describe(workflowId);
    if (run?.status.name !== 'RUNNING') return;
    const status = await this.#calls.query<ClusterStatus>(workflowId, 'clusterStatus');
    if (status === null || status.actions.length > 0) return;
    const atMs = Date.now() + endsWithinMs;
    await this.#client.withDeadline(atMs, () => this.result(cluster)).catch(() => {});
  }

  /** Whether a run, open or over for good, is this very rollout. */
  async #isSame(run: WorkflowExecutionDescription, input: ClusterRollout): Promise<boolean> {
    const { rolloutId } = input;
    const digest = { name: 'inputDigest', value: rolloutDigest(input) };
    const standing = rolloutStanding(run, { ...subjectOf(input.cluster), rolloutId, digest });
    if (standing !== 'closed') return standing === 'open';
    // One that was left, terminated or failed goes on when it is started again.
    if (run.status.name !== 'COMPLETED') return false;
    return (await this.result(input.cluster)).outcome === 'finalized';
  }

  /**
   * What a start with this input would find; changes nothing.
   * @throws `agent.unreachable`, `control.unreachable`
   */
  plan(input: ClusterRollout): Promise<ClusterPlan> {
    const { cluster, members } = input;
    return runPlan<typeof planCluster>(this.#client, {
      workflow: 'planCluster',
      input,
      subject: { workflowId: clusterWorkflowId(cluster), text: `cluster ${cluster}` },
      host: members.map(({ host }) => host).join(', '),
    });
  }

  /** @throws `rollout.not-found` */
  async status(cluster: string): Promise<ClusterReportSeen> {
    const { workflowId, text } = subjectOf(cluster);
    const description = await this.#calls.describe(workflowId);
    if (description === null) throw fail('rollout.not-found', { subject: text });
    const rolloutId = description.memo?.['rolloutId'];
    const status = await this.#calls.query<ClusterStatus>(workflowId, 'clusterStatus');
    return {
      cluster,
      rolloutId: typeof rolloutId === 'string' ? rolloutId : null,
      run: runState(description.status.name),
      startedAt: description.startTime.toISOString(),
      closedAt: description.closeTime?.toISOString() ?? null,
      status,
      migrations: status === null ? [] : await this.#migrationsOf(status),
      failure:
        description.status.name === 'FAILED' ? await this.#calls.failureOf(workflowId) : null,
    };
  }

  /** Of the members that move, soak or failed. */
  async #migrationsOf({ rollout, members }: ClusterStatus): Promise<MigrationReport[]> {
    const open = members.filter(
      ({ stage, report }) =>
        ['moving', 'soaking', 'failed'].includes(stage) && report !== null && !report.outcome,
    );
    const { cluster } = rollout;
    const known = await Promise.all(
      open.map(async ({ member }) => {
        try {
          return [await this.#migrations.status({ cluster, member })];
        } catch (error) {
          if (hasCode(error, 'migration.not-found')) return [];
          throw error;
        }
      }),
    );
    return known.flat();
  }

  /** Reports until the rollout has ended, one after each `intervalMs`. */
  watch(cluster: string, options: WatchOptions): AsyncGenerator<ClusterReportSeen> {
    return watchRuns(() => this.status(cluster), options);
  }

  /** Resolves when the rollout has ended; rejects when its run failed. */
  async result(cluster: string): Promise<MigrateClusterResult> {
    return this.#client.workflow
      .getHandle<typeof migrateCluster>(clusterWorkflowId(cluster))
      .result();
  }

  pause(cluster: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(cluster, 'pause', { options });
  }

  /** Ends a pause, and tries again what failed. */
  resume(cluster: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(cluster, 'resume', { options });
  }

  /** Lets the cutovers begin. */
  approve(cluster: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(cluster, 'approve', { options });
  }

  /** Limits bulk work; null removes the limit. */
  throttle(
    cluster: string,
    bytesPerSecond: number | null,
    options?: OperationOptions,
  ): Promise<Accepted> {
    return this.#update(cluster, 'throttle', { options, extra: { bytesPerSecond } });
  }

  /** Leaves the member where it is. @throws `rollout.illegal-action` while it is under way */
  skip(cluster: string, member: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(cluster, 'skip', { options, extra: { member } });
  }

  /**
   * Takes one member back, or (null) all that have moved, the newest first.
   * @throws `rollout.illegal-action` when none has begun, or it is final
   */
  rollback(
    cluster: string,
    given: { readonly member: string | null; readonly reason: string },
    options?: OperationOptions,
  ): Promise<Accepted> {
    return this.#update(cluster, 'rollback', { options, extra: given });
  }

  /** Finalizes all that soak. @throws `rollout.illegal-action` when none does */
  complete(cluster: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(cluster, 'complete', { options });
  }

  /** Ends the rollout; its members' migrations go on by themselves. */
  abandon(cluster: string, reason: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(cluster, 'abandon', { options, extra: { reason } });
  }

  /** Rollouts that Temporal knows, newest first; visibility lags by a moment. */
  async list(options: { readonly limit: number }): Promise<ClusterListing[]> {
    return allOf(options.limit, (request) => this.page(request));
  }

  /** One page of them; `next` is Temporal's own token, null at the end. */
  async page(request: RunPageRequest): Promise<Page<ClusterListing>> {
    const of = { type: 'migrateCluster', prefix: workflowIdPrefix, ...request };
    const { items, next } = await runPage(this.#client, of);
    return { items: items.map(listedRun), next };
  }

  #update(
    cluster: string,
    name: string,
    given: {
      readonly options: OperationOptions | undefined;
      readonly extra?: Readonly<Record<string, unknown>>;
    },
  ): Promise<Accepted> {
    const subject = subjectOf(cluster);
    const notRunning = async () => notRunningError(name, subject, await this.status(cluster));
    const { options, extra = {} } = given;
    return this.#calls.update(subject, { name, options, extra, notRunning });
  }
}

function subjectOf(cluster: string): Subject {
  return { workflowId: clusterWorkflowId(cluster), text: `cluster ${cluster}` };
}

/** SHA-256: whoever asks, it is the same rollout. */
export function rolloutDigest(rollout: ClusterRollout): string {
  return createHash('sha256').update(rolloutText(rollout)).digest('hex');
}

function listedRun({ workflowId, memo, run, startedAt, closedAt }: Run): ClusterListing {
  const cluster = workflowId.slice(workflowIdPrefix.length);
  return { cluster, rolloutId: memo('rolloutId'), run, startedAt, closedAt };
}

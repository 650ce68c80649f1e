/**
 * The typed way to start, watch and steer migrations. Starting twice with one id is one migration.
 * It speaks to Temporal only: what a machine's record says is in the status of the running
 * workflow, and in `quorumshift status --local` when there is none.
 */
import {
  type Client,
  type WorkflowExecutionDescription,
  type WorkflowHandle,
} from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';

import type { ProofName, StepProgress } from '../activities/contract.ts';
import { fail } from '../core/errors.ts';
import { controlTaskQueue, replicaText, replicaWorkflowId, type ReplicaName } from '../core/ids.ts';
import { inputDigest } from '../schemas/input-digest.ts';
import type { MigrationInput } from '../schemas/migration.ts';
import type { Accepted, MigrateReplicaResult, MigrationStatus } from '../workflows/messages.ts';
import type { migrateReplica } from '../workflows/migrate-replica.ts';
import type { PlanAnswer, planReplica } from '../workflows/plan-replica.ts';
import { attemptReport } from './attempt-report.ts';
import type {
  MigrationListing,
  MigrationReport,
  Migrations,
  StartedMigration,
} from './migrations.ts';
import { allOf, runPage, type Page, type Run, type RunPageRequest } from './run-page.ts';
import { runPlan } from './run-plan.ts';
import { SearchAttributes } from './search-attributes.ts';
import { watchRuns, type WatchOptions } from './watch-runs.ts';
import {
  runState,
  WorkflowCalls,
  type ClientOptions,
  type OperationOptions,
} from './workflow-calls.ts';

const workflowIdPrefix = 'replica/';

export interface StartOptions {
  /** Why it is to go back at once: the run decides that before it does anything else. */
  readonly rollback?: string;
}

export class MigrationClient implements Migrations {
  readonly #client: Client;
  readonly #calls: WorkflowCalls;
  readonly #searchAttributes: SearchAttributes;

  constructor(options: ClientOptions) {
    this.#client = options.client;
    this.#calls = new WorkflowCalls(options);
    this.#searchAttributes = new SearchAttributes(options.client);
  }

  /**
   * Starts the migration, or finds the one with the same id and input.
   * @throws `migration.conflict` when the id was used with another input;
   *   `migration.illegal-action` when another migration of the replica runs
   */
  async start(input: MigrationInput, options: StartOptions = {}): Promise<StartedMigration> {
    const workflowId = replicaWorkflowId(input.replica);
    const digest = inputDigest(input);
    const { migrationId, replica } = input;
    const searchAttributes = await this.#searchAttributes.ours();
    const typedSearchAttributes = await this.#searchAttributes.of(input);
    const rollback =
      options.rollback === undefined
        ? null
        : { by: this.#calls.identity, reason: options.rollback };
    const fresh = await this.#calls.startOnce(workflowId, {
      isSame: (run) => this.#isSame(run, input, digest),
      start: () =>
        this.#client.workflow.start<typeof migrateReplica>('migrateReplica', {
          workflowId,
          taskQueue: controlTaskQueue,
          args: [{ input, inputDigest: digest, searchAttributes, ...(rollback && { rollback }) }],
          memo: { migrationId, inputDigest: digest },
          typedSearchAttributes,
          workflowIdConflictPolicy: 'FAIL',
          workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        }),
    });
    return { replica, migrationId, workflowId, fresh };
  }

  /**
   * Whether a run, open or completed, is this very migration.
   * @throws `migration.conflict`, `migration.illegal-action`
   */
  async #isSame(
    run: WorkflowExecutionDescription,
    input: MigrationInput,
    digest: string,
  ): Promise<boolean> {
    const open = run.status.name === 'RUNNING';
    const sameId = run.memo?.['migrationId'] === input.migrationId;
    const migration = input.migrationId;
    if (sameId && run.memo?.['inputDigest'] !== digest) {
      throw fail('migration.conflict', { migration, actual: 'it was started with another one' });
    }
    if (open && !sameId) {
      throw fail('migration.illegal-action', {
        action: `start ${migration} as`,
        replica: replicaText(input.replica),
        required: 'no other one may run',
        actual: `${String(run.memo?.['migrationId'])} does`,
      });
    }
    if (!sameId || open) return sameId;
    // A run that failed, was terminated or let go of the replica may be started again: the new one
    // adopts the machine's record.
    if (run.status.name !== 'COMPLETED') return false;
    const { outcome } = await this.#handle(input.replica).result();
    return outcome === 'finalized' || outcome === 'rolled-back';
  }

  /**
   * What a start with this input would find; changes nothing.
   * @throws `agent.unreachable`, `control.unreachable`
   */
  plan(input: MigrationInput): Promise<PlanAnswer> {
    const { replica, host } = input;
    const subject = { workflowId: replicaText(replica), text: replicaText(replica) };
    return runPlan<typeof planReplica>(this.#client, {
      workflow: 'planReplica',
      input,
      subject,
      host,
    });
  }

  /** @throws `migration.not-found` */
  async status(replica: ReplicaName): Promise<MigrationReport> {
    const description = await this.#describe(replica);
    if (description === null) {
      throw fail('migration.not-found', { replica: replicaText(replica) });
    }
    const workflowId = replicaWorkflowId(replica);
    const pending = description.raw.pendingActivities?.[0];
    const details = pending?.heartbeatDetails?.payloads?.[0];
    const migrationId = description.memo?.['migrationId'];
    return {
      replica,
      migrationId: typeof migrationId === 'string' ? migrationId : null,
      run: runState(description.status.name),
      startedAt: description.startTime.toISOString(),
      closedAt: description.closeTime?.toISOString() ?? null,
      status: await this.#calls.query<MigrationStatus>(workflowId, 'status'),
      progress: details ? defaultPayloadConverter.fromPayload<StepProgress>(details) : null,
      attempt: pending ? attemptReport(pending) : null,
      failure:
        description.status.name === 'FAILED' ? await this.#calls.failureOf(workflowId) : null,
    };
  }

  /** Reports until the migration has ended, one after each `intervalMs`. */
  watch(replica: ReplicaName, options: WatchOptions): AsyncGenerator<MigrationReport> {
    return watchRuns(() => this.status(replica), options);
  }

  /** Resolves when the migration has ended; rejects when its run failed. */
  async result(replica: ReplicaName): Promise<MigrateReplicaResult> {
    return this.#handle(replica).result();
  }

  pause(replica: ReplicaName, options?: OperationOptions): Promise<Accepted> {
    return this.#update(replica, 'pause', options, {});
  }

  /** Ends a pause, and retries a step that waits for an operator. */
  resume(replica: ReplicaName, options?: OperationOptions): Promise<Accepted> {
    return this.#update(replica, 'resume', options, {});
  }

  /** Approves the cutover on this very proof. @throws `proof.stale` */
  approve(replica: ReplicaName, proof: ProofName, options?: OperationOptions): Promise<Accepted> {
    return this.#update(replica, 'approveCutover', options, { ...proof });
  }

  /** Limits bulk work; null removes the limit. */
  throttle(
    replica: ReplicaName,
    bytesPerSecond: number | null,
    options?: OperationOptions,
  ): Promise<Accepted> {
    return this.#update(replica, 'throttle', options, { bytesPerSecond });
  }

  /** @throws `migration.illegal-action` when it is final or rolling back already */
  rollback(replica: ReplicaName, reason: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(replica, 'rollback', options, { reason });
  }

  /**
   * Gives a rollback up that moves the target's state back: the replica stays on the target, if
   * nothing changed there since it was fenced.
   * @throws `migration.illegal-action` unless it moves state back, and has not swapped yet
   */
  cancelRollback(
    replica: ReplicaName,
    reason: string,
    options?: OperationOptions,
  ): Promise<Accepted> {
    return this.#update(replica, 'cancelRollback', options, { reason });
  }

  /**
   * Finalizes: retires the source; rollback is refused from then on. @throws
   * `migration.illegal-action`
   */
  complete(replica: ReplicaName, options?: OperationOptions): Promise<Accepted> {
    return this.#update(replica, 'complete', options, {});
  }

  /** Ends the workflow and leaves the machine as it is; its record can be adopted later. */
  abandon(replica: ReplicaName, reason: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(replica, 'abandon', options, { reason });
  }

  /** Migrations that Temporal knows, newest first; visibility lags by a moment. */
  async list(options: { readonly limit: number }): Promise<MigrationListing[]> {
    return allOf(options.limit, (request) => this.page(request));
  }

  /** One page of them; `next` is Temporal's own token, null at the end. */
  async page(request: RunPageRequest): Promise<Page<MigrationListing>> {
    const of = { type: 'migrateReplica', prefix: workflowIdPrefix, ...request };
    const { items, next } = await runPage(this.#client, of);
    return { items: items.map(listingOf), next };
  }

  #handle(replica: ReplicaName): WorkflowHandle<typeof migrateReplica> {
    return this.#client.workflow.getHandle<typeof migrateReplica>(replicaWorkflowId(replica));
  }

  #describe(replica: ReplicaName): Promise<WorkflowExecutionDescription | null> {
    return this.#calls.describe(replicaWorkflowId(replica));
  }

  #update(
    replica: ReplicaName,
    name: string,
    options: OperationOptions | undefined,
    extra: Readonly<Record<string, unknown>>,
  ): Promise<Accepted> {
    const text = replicaText(replica);
    const notRunning = async () => {
      const { run } = await this.status(replica);
      return fail('migration.illegal-action', {
        action: name,
        replica: text,
        required: 'it must be running',
        actual: `it is ${run}`,
      });
    };
    const subject = { workflowId: replicaWorkflowId(replica), text };
    return this.#calls.update(subject, { name, options, extra, notRunning });
  }
}

function listingOf({ workflowId, memo, run, startedAt, closedAt }: Run): MigrationListing {
  const [cluster = '', member = ''] = workflowId.slice(workflowIdPrefix.length).split('/');
  const replica = { cluster, member };
  return { replica, migrationId: memo('migrationId'), run, startedAt, closedAt };
}

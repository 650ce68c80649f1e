/**
 * The typed way to start, watch and steer migrations. Starting twice with one id is one migration.
 * It speaks to Temporal only: what a machine's record says is in the status of the running
 * workflow, and in `quorumshift status --local` when there is none.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

import {
  isGrpcServiceError,
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  type Client,
  type WorkflowExecutionDescription,
  type WorkflowHandle,
} from '@temporalio/client';
import { ApplicationFailure, defaultPayloadConverter } from '@temporalio/common';

import type { ProofName, StepProgress } from '../activities/contract.ts';
import { errorRegistry } from '../core/error-registry.ts';
import { fail, hasCode, QuorumshiftError, type ErrorCode } from '../core/errors.ts';
import { controlTaskQueue, replicaText, replicaWorkflowId, type ReplicaName } from '../core/ids.ts';
import { inputDigest } from '../schemas/input-digest.ts';
import type { MigrationInput } from '../schemas/migration.ts';
import type {
  Accepted,
  MigrateReplicaResult,
  MigrationOutcome,
  MigrationStatus,
} from '../workflows/messages.ts';
import type { migrateReplica } from '../workflows/migrate-replica.ts';
import type { PlanAnswer, planReplica } from '../workflows/plan-replica.ts';
import { attemptReport } from './attempt-report.ts';
import type {
  MigrationListing,
  MigrationReport,
  Migrations,
  OperationOptions,
  RunState,
  StartedMigration,
} from './migrations.ts';
import { runPage, type Page, type Run, type RunPageRequest } from './run-page.ts';
import { SearchAttributes } from './search-attributes.ts';

/** A workflow that does not answer within this is reported as such, with what else is known. */
const queryTimeoutMs = 2_000;

/**
 * A wish, or a plan, that no control worker has taken by then is given up. Workers that come back
 * replay first; a sticky queue adds a second.
 */
const controlTimeoutMs = 15_000;

/** A preflight reads the whole log once: as long as a copy of it may take. */
const planTimeoutMs = 24 * 60 * 60_000;

/** Started, and its first task scheduled. */
const untakenEvents = 2;

const workflowIdPrefix = 'replica/';

export interface MigrationClientOptions {
  readonly client: Client;
  /** Recorded with every operation; unverified. */
  readonly identity: string;
  /** Absent: of its own. */
  readonly searchAttributes?: SearchAttributes;
}

export interface StartOptions {
  /** Why it is to go back at once: the run decides that before it does anything else. */
  readonly rollback?: string;
}

export class MigrationClient implements Migrations {
  readonly #client: Client;
  readonly #identity: string;
  readonly #searchAttributes: SearchAttributes;

  constructor(options: MigrationClientOptions) {
    this.#client = options.client;
    this.#searchAttributes = options.searchAttributes ?? new SearchAttributes(options.client);
    this.#identity = options.identity;
  }

  /** The same, for someone else. */
  as(identity: string): MigrationClient {
    const searchAttributes = this.#searchAttributes;
    return new MigrationClient({ client: this.#client, identity, searchAttributes });
  }

  /**
   * Starts the migration, or finds the one with the same id and input.
   * @throws `migration.conflict` when the id was used with another input;
   *   `migration.illegal-action` when another migration of the replica runs;
   *   `migration.standalone-required`
   */
  async start(input: MigrationInput, options: StartOptions = {}): Promise<StartedMigration> {
    if (input.standalone === null) {
      throw fail('migration.standalone-required', { replica: replicaText(input.replica) });
    }
    const workflowId = replicaWorkflowId(input.replica);
    const digest = inputDigest(input);
    const { migrationId, replica } = input;
    const earlier = await this.#describe(replica);
    if (earlier !== null && (await this.#isSame(earlier, input, digest))) {
      return { replica, migrationId, workflowId, fresh: false };
    }
    try {
      await this.#client.workflow.start<typeof migrateReplica>('migrateReplica', {
        workflowId,
        taskQueue: controlTaskQueue,
        args: [
          {
            input,
            inputDigest: digest,
            ...(options.rollback !== undefined && {
              rollback: { by: this.#identity, reason: options.rollback },
            }),
          },
        ],
        memo: { migrationId, inputDigest: digest },
        typedSearchAttributes: await this.#searchAttributes.of(input),
        workflowIdConflictPolicy: 'FAIL',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      });
      return { replica, migrationId, workflowId, fresh: true };
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      // Lost a race against another start: it is the same migration, or a conflict.
      const running = await this.#describe(replica);
      if (running !== null && (await this.#isSame(running, input, digest))) {
        return { replica, migrationId, workflowId, fresh: false };
      }
      throw error;
    }
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
  async plan(input: MigrationInput): Promise<PlanAnswer> {
    const handle = await this.#client.workflow.start<typeof planReplica>('planReplica', {
      workflowId: `plan/${replicaText(input.replica)}/${randomUUID()}`,
      taskQueue: controlTaskQueue,
      args: [input],
      workflowExecutionTimeout: planTimeoutMs,
    });
    const given = new AbortController();
    try {
      return await Promise.race([handle.result(), this.#untaken(handle, input, given.signal)]);
    } catch (error) {
      // Ended only now: its end would be the answer otherwise.
      if (hasCode(error, 'control.unreachable')) await handle.terminate('no control worker');
      if (error instanceof QuorumshiftError) throw error;
      const cause = error instanceof WorkflowFailedError ? error.cause : error;
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw fail('agent.unreachable', { host: input.host, reason }, { cause: error });
    } finally {
      given.abort();
    }
  }

  /** Rejects once it is clear that no control worker takes the plan. */
  async #untaken(
    handle: WorkflowHandle<typeof planReplica>,
    { replica }: MigrationInput,
    given: AbortSignal,
  ): Promise<never> {
    const waited = await delay(controlTimeoutMs, true, { signal: given }).catch(() => false);
    if (waited && (await handle.describe()).historyLength <= untakenEvents) {
      throw controlUnreachable('plan', replica);
    }
    return new Promise(() => {});
  }

  /** @throws `migration.not-found` */
  async status(replica: ReplicaName): Promise<MigrationReport> {
    const description = await this.#describe(replica);
    if (description === null) {
      throw fail('migration.not-found', { replica: replicaText(replica) });
    }
    const pending = description.raw.pendingActivities?.[0];
    const details = pending?.heartbeatDetails?.payloads?.[0];
    const migrationId = description.memo?.['migrationId'];
    return {
      replica,
      migrationId: typeof migrationId === 'string' ? migrationId : null,
      run: runState(description.status.name),
      startedAt: description.startTime.toISOString(),
      closedAt: description.closeTime?.toISOString() ?? null,
      status: await this.#queryStatus(replica),
      progress: details ? defaultPayloadConverter.fromPayload<StepProgress>(details) : null,
      attempt: pending ? attemptReport(pending) : null,
      failure: description.status.name === 'FAILED' ? await this.#failureOf(replica) : null,
    };
  }

  /** Reports until the migration has ended, one after each `intervalMs`. */
  async *watch(
    replica: ReplicaName,
    options: { readonly intervalMs: number; readonly signal?: AbortSignal },
  ): AsyncGenerator<MigrationReport> {
    for (;;) {
      const report = await this.status(replica);
      yield report;
      if (report.run !== 'running' || options.signal?.aborted) return;
      await new Promise((resolve) => setTimeout(resolve, options.intervalMs));
    }
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
    const listings: MigrationListing[] = [];
    let cursor: Uint8Array | null = null;
    do {
      const limit = options.limit - listings.length;
      const page = await this.page({ limit, cursor });
      listings.push(...page.items);
      cursor = page.next;
    } while (cursor !== null && listings.length < options.limit);
    return listings;
  }

  /** One page of them; `next` is Temporal's own token, null at the end. */
  async page(request: RunPageRequest): Promise<Page<MigrationListing>> {
    const { items, next } = await runPage(this.#client, {
      type: 'migrateReplica',
      prefix: workflowIdPrefix,
      ...request,
    });
    return { items: items.map(listingOf), next };
  }

  #handle(replica: ReplicaName): WorkflowHandle<typeof migrateReplica> {
    return this.#client.workflow.getHandle<typeof migrateReplica>(replicaWorkflowId(replica));
  }

  async #describe(replica: ReplicaName): Promise<WorkflowExecutionDescription | null> {
    try {
      return await this.#handle(replica).describe();
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return null;
      throw error;
    }
  }

  async #queryStatus(replica: ReplicaName): Promise<MigrationStatus | null> {
    const handle = this.#handle(replica);
    try {
      return await this.#client.withDeadline(Date.now() + queryTimeoutMs, () =>
        handle.query<MigrationStatus>('status'),
      );
    } catch (error) {
      // No worker, or the workflow failed before it could answer: the rest of the report stands.
      if (isGrpcServiceError(error) || error instanceof Error) return null;
      throw error;
    }
  }

  async #failureOf(replica: ReplicaName): Promise<string | null> {
    try {
      await this.#handle(replica).result();
      return null;
    } catch (error) {
      // Around what the agent said lie the failures of the run and of the activity.
      let cause = error;
      while (cause instanceof Error && cause.cause instanceof Error) cause = cause.cause;
      return cause instanceof Error ? cause.message : String(cause);
    }
  }

  async #update(
    replica: ReplicaName,
    name: string,
    options: OperationOptions | undefined,
    extra: Readonly<Record<string, unknown>>,
  ): Promise<Accepted> {
    const operationId = options?.operationId ?? randomUUID();
    const argument = { operationId, by: this.#identity, ...extra };
    try {
      const handle = this.#handle(replica);
      return await this.#client.withDeadline(Date.now() + controlTimeoutMs, () =>
        handle.executeUpdate<Accepted, [typeof argument]>(name, {
          args: [argument],
          updateId: operationId,
        }),
      );
    } catch (error) {
      if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) {
        throw controlUnreachable(name, replica, error);
      }
      if (!(error instanceof WorkflowNotFoundError)) throw updateError(error);
      const { run } = await this.status(replica);
      throw fail('migration.illegal-action', {
        action: name,
        replica: replicaText(replica),
        required: 'it must be running',
        actual: `it is ${run}`,
      });
    }
  }
}

function listingOf({ workflowId, memo, run, startedAt, closedAt }: Run): MigrationListing {
  const [cluster = '', member = ''] = workflowId.slice(workflowIdPrefix.length).split('/');
  return {
    replica: { cluster, member },
    migrationId: memo('migrationId'),
    run,
    startedAt,
    closedAt,
  };
}

function controlUnreachable(action: string, replica: ReplicaName, cause?: unknown): Error {
  const details = { action, replica: replicaText(replica), waitedMs: controlTimeoutMs };
  return fail('control.unreachable', details, { cause });
}

function updateError(error: unknown): unknown {
  const cause = error instanceof WorkflowUpdateFailedError ? error.cause : undefined;
  if (!(cause instanceof ApplicationFailure) || !isCode(cause.type)) return error;
  const details: unknown = cause.details?.[0];
  return new QuorumshiftError(cause.type, textsOf(details), { cause: error });
}

function isCode(text: string | null | undefined): text is ErrorCode {
  return typeof text === 'string' && Object.hasOwn(errorRegistry, text);
}

function textsOf(details: unknown): Record<string, string> {
  if (typeof details !== 'object' || details === null) return {};
  return Object.fromEntries(Object.entries(details).map(([key, value]) => [key, String(value)]));
}

function runState(name: string): RunState {
  const states: Record<string, RunState> = {
    RUNNING: 'running',
    CONTINUED_AS_NEW: 'running',
    COMPLETED: 'completed',
    FAILED: 'failed',
    TIMED_OUT: 'failed',
    CANCELLED: 'cancelled',
    TERMINATED: 'terminated',
  };
  return states[name] ?? 'other';
}

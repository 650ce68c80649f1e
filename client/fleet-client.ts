/**
 * The typed way to start, watch and steer fleets' rollouts. Starting twice with one rollout id is
 * one rollout; starting one again whose workflow was terminated goes on with it.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

import {
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  type Client,
  type WorkflowExecutionDescription,
  type WorkflowHandle,
} from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';

import { errorRegistry } from '../core/error-registry.ts';
import { fail, QuorumshiftError, type ErrorCode } from '../core/errors.ts';
import { controlTaskQueue, fleetWorkflowId, isName } from '../core/ids.ts';
import type { RolloutPolicy } from '../schemas/rollout-policy.ts';
import type { Accepted } from '../workflows/messages.ts';
import type { migrateFleet } from '../workflows/migrate-fleet.ts';
import type { FleetStatus, MigrateFleetResult } from '../workflows/rollout-messages.ts';
import type { OperationOptions, RunState } from './migration-client.ts';
import { SearchAttributes } from './search-attributes.ts';

/** A workflow that does not answer within this is reported as such, with what else is known. */
const queryTimeoutMs = 2_000;

/** A wish that no control worker has taken by then is given up. */
const controlTimeoutMs = 15_000;

const workflowIdPrefix = 'fleet/';

/** Part of the ids of its clusters' migrations. */
const rolloutIdPattern = /^[A-Za-z0-9_-]{1,20}$/;

export interface FleetStart {
  readonly fleet: string;
  /** 1 to 20 letters, digits, "_" or "-". */
  readonly rolloutId: string;
  /** Digest of the stored snapshot of inventory and policy. */
  readonly snapshot: string;
  /** The snapshot's. */
  readonly policy: RolloutPolicy;
  readonly requestedBy: string;
}

export interface StartedFleet {
  readonly fleet: string;
  readonly rolloutId: string;
  readonly workflowId: string;
  /** False when this rollout had been started before, and goes on or has ended. */
  readonly fresh: boolean;
}

/** What can be said of a fleet's rollout from outside, even when its workflow does not answer. */
export interface FleetReport {
  readonly fleet: string;
  readonly rolloutId: string | null;
  readonly run: RunState;
  readonly startedAt: string;
  readonly closedAt: string | null;
  /** Null when no worker answered within 2 s, or the history is gone. */
  readonly status: FleetStatus | null;
  /** Why the run failed. */
  readonly failure: string | null;
}

export type FleetListing = Omit<FleetReport, 'status' | 'failure'>;

export class FleetClient {
  readonly #client: Client;
  readonly #identity: string;
  readonly #searchAttributes: SearchAttributes;

  constructor(options: { readonly client: Client; readonly identity: string }) {
    this.#client = options.client;
    this.#identity = options.identity;
    this.#searchAttributes = new SearchAttributes(options.client);
  }

  /**
   * Starts the rollout, or finds the one with the same id and snapshot.
   * @throws `usage.invalid`; `migration.conflict` when the id was used with another snapshot;
   *   `migration.illegal-action` when another rollout of the fleet runs
   */
  async start(given: FleetStart): Promise<StartedFleet> {
    const { fleet, rolloutId, snapshot } = given;
    if (!isName(fleet) || !rolloutIdPattern.test(rolloutId)) {
      const reason = `"${fleet}" and "${rolloutId}" must be a fleet's name and a rollout id: 1 to 64, and 1 to 20, letters, digits, "_", "-"`;
      throw fail('usage.invalid', { reason });
    }
    const workflowId = fleetWorkflowId(fleet);
    const earlier = await this.#describe(fleet);
    if (earlier !== null && (await this.#isSame(earlier, given))) {
      return { fleet, rolloutId, workflowId, fresh: false };
    }
    const searchAttributes = await this.#searchAttributes.ours();
    try {
      await this.#client.workflow.start<typeof migrateFleet>('migrateFleet', {
        workflowId,
        taskQueue: controlTaskQueue,
        args: [{ ...given, searchAttributes }],
        memo: { rolloutId, snapshot },
        typedSearchAttributes: await this.#searchAttributes.pairs({
          QuorumshiftFleet: fleet,
          QuorumshiftState: 'running',
        }),
        workflowIdConflictPolicy: 'FAIL',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      });
      return { fleet, rolloutId, workflowId, fresh: true };
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      // Lost a race against another start: it is the same rollout, or a conflict.
      const running = await this.#describe(fleet);
      if (running !== null && (await this.#isSame(running, given))) {
        return { fleet, rolloutId, workflowId, fresh: false };
      }
      throw error;
    }
  }

  /** @throws `migration.not-found` */
  async status(fleet: string): Promise<FleetReport> {
    const description = await this.#describe(fleet);
    if (description === null) throw fail('migration.not-found', { replica: `fleet ${fleet}` });
    const failed = description.status.name === 'FAILED';
    return {
      ...listingOf(description),
      status: await this.#query(fleet),
      failure: failed ? await this.#failureOf(fleet) : null,
    };
  }

  /** Reports until the rollout has ended, one after each `intervalMs`. */
  async *watch(
    fleet: string,
    options: { readonly intervalMs: number; readonly signal?: AbortSignal },
  ): AsyncGenerator<FleetReport> {
    for (;;) {
      const report = await this.status(fleet);
      yield report;
      if (report.run !== 'running' || options.signal?.aborted) return;
      await delay(options.intervalMs);
    }
  }

  /** Resolves when the rollout has ended; rejects when its run failed. */
  async result(fleet: string): Promise<MigrateFleetResult> {
    return this.#handle(fleet).result();
  }

  pause(fleet: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(fleet, 'pause', options, {});
  }

  /** Ends a pause or a stop, and tries again what failed. */
  resume(fleet: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(fleet, 'resume', options, {});
  }

  /** Lets the next wave begin. @throws `migration.illegal-action` when none waits for it */
  approve(fleet: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(fleet, 'approve', options, {});
  }

  /** Limits bulk work of each member under way; null removes the limit. */
  throttle(
    fleet: string,
    bytesPerSecond: number | null,
    options?: OperationOptions,
  ): Promise<Accepted> {
    return this.#update(fleet, 'throttle', options, { bytesPerSecond });
  }

  /** Emergency stop: nothing begins, everything under way pauses. `resume` ends it. */
  stop(fleet: string, reason: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(fleet, 'stop', options, { reason });
  }

  /** Leaves a cluster out that has not begun or has failed. @throws `migration.illegal-action` */
  skip(fleet: string, cluster: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(fleet, 'skip', options, { cluster });
  }

  /** Takes back every cluster that is not final, the latest first; nothing more begins. */
  rollback(fleet: string, reason: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(fleet, 'rollback', options, { reason });
  }

  /** Finalizes all clusters that soak. @throws `migration.illegal-action` when none does */
  complete(fleet: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(fleet, 'complete', options, {});
  }

  /** Rollouts of fleets that Temporal knows, newest first; visibility lags by a moment. */
  async list(options: { readonly limit: number }): Promise<FleetListing[]> {
    const listings: FleetListing[] = [];
    const query = `WorkflowType = 'migrateFleet'`;
    for await (const run of this.#client.workflow.list({ query })) {
      if (run.status.name === 'CONTINUED_AS_NEW') continue;
      listings.push(listingOf(run));
      if (listings.length >= options.limit) break;
    }
    return listings;
  }

  #handle(fleet: string): WorkflowHandle<typeof migrateFleet> {
    return this.#client.workflow.getHandle<typeof migrateFleet>(fleetWorkflowId(fleet));
  }

  async #describe(fleet: string): Promise<WorkflowExecutionDescription | null> {
    try {
      return await this.#handle(fleet).describe();
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return null;
      throw error;
    }
  }

  /**
   * Whether a run, open or completed, is this very rollout.
   * @throws `migration.conflict`, `migration.illegal-action`
   */
  async #isSame(
    run: WorkflowExecutionDescription,
    { fleet, rolloutId, snapshot }: FleetStart,
  ): Promise<boolean> {
    const open = run.status.name === 'RUNNING';
    const sameId = run.memo?.['rolloutId'] === rolloutId;
    if (sameId && run.memo?.['snapshot'] !== snapshot) {
      const actual = 'it was started with another snapshot';
      throw fail('migration.conflict', { migration: rolloutId, actual });
    }
    if (open && !sameId) {
      throw fail('migration.illegal-action', {
        action: `start ${rolloutId} as`,
        replica: `fleet ${fleet}`,
        required: 'no other one may run',
        actual: `${String(run.memo?.['rolloutId'])} does`,
      });
    }
    // One that failed or was terminated goes on in a new run, with what its clusters have done.
    return sameId && (open || run.status.name === 'COMPLETED');
  }

  async #query(fleet: string): Promise<FleetStatus | null> {
    try {
      return await this.#client.withDeadline(Date.now() + queryTimeoutMs, () =>
        this.#handle(fleet).query<FleetStatus>('fleetStatus'),
      );
    } catch (error) {
      // No worker, or the workflow failed before it could answer: the rest of the report stands.
      if (error instanceof Error) return null;
      throw error;
    }
  }

  async #failureOf(fleet: string): Promise<string | null> {
    try {
      await this.result(fleet);
      return null;
    } catch (error) {
      let cause = error;
      while (cause instanceof Error && cause.cause instanceof Error) cause = cause.cause;
      return cause instanceof Error ? cause.message : String(cause);
    }
  }

  async #update(
    fleet: string,
    name: string,
    options: OperationOptions | undefined,
    extra: Readonly<Record<string, unknown>>,
  ): Promise<Accepted> {
    const operationId = options?.operationId ?? randomUUID();
    const argument = { operationId, by: this.#identity, ...extra };
    const replica = `fleet ${fleet}`;
    try {
      return await this.#client.withDeadline(Date.now() + controlTimeoutMs, () =>
        this.#handle(fleet).executeUpdate<Accepted, [typeof argument]>(name, {
          args: [argument],
          updateId: operationId,
        }),
      );
    } catch (error) {
      if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) {
        const details = { action: name, replica, waitedMs: controlTimeoutMs };
        throw fail('control.unreachable', details, { cause: error });
      }
      if (!(error instanceof WorkflowNotFoundError)) throw updateError(error);
      const { run } = await this.status(fleet);
      const required = 'it must be running';
      throw fail('migration.illegal-action', {
        action: name,
        replica,
        required,
        actual: `it is ${run}`,
      });
    }
  }
}

function listingOf(run: {
  readonly workflowId: string;
  readonly status: { readonly name: string };
  readonly memo?: Readonly<Record<string, unknown>>;
  readonly startTime: Date;
  readonly closeTime?: Date;
}): FleetListing {
  const rolloutId = run.memo?.['rolloutId'];
  return {
    fleet: run.workflowId.slice(workflowIdPrefix.length),
    rolloutId: typeof rolloutId === 'string' ? rolloutId : null,
    run: runState(run.status.name),
    startedAt: run.startTime.toISOString(),
    closedAt: run.closeTime?.toISOString() ?? null,
  };
}

function updateError(error: unknown): unknown {
  const cause = error instanceof WorkflowUpdateFailedError ? error.cause : undefined;
  if (!(cause instanceof ApplicationFailure) || !isCode(cause.type)) return error;
  const details = (cause.details?.[0] ?? {}) as Readonly<Record<string, string>>;
  return new QuorumshiftError(cause.type, details, { cause: error });
}

function isCode(text: string | null | undefined): text is ErrorCode {
  return typeof text === 'string' && Object.hasOwn(errorRegistry, text);
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

/**
 * The typed way to start, watch and steer fleets' rollouts. Starting twice with one rollout id is
 * one rollout; starting one again whose workflow was terminated goes on with it.
 */
import { type Client, type WorkflowHandle } from '@temporalio/client';

import { fail } from '../core/errors.ts';
import { controlTaskQueue, fleetWorkflowId, isName } from '../core/ids.ts';
import { rolloutIdSchema } from '../schemas/names.ts';
import type { RolloutPolicy } from '../schemas/rollout-policy.ts';
import type { Accepted } from '../workflows/messages.ts';
import type { migrateFleet } from '../workflows/migrate-fleet.ts';
import type { FleetStatus, MigrateFleetResult } from '../workflows/rollout-messages.ts';
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

const workflowIdPrefix = fleetWorkflowId('');

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
  readonly #calls: WorkflowCalls;
  readonly #searchAttributes: SearchAttributes;

  constructor(options: ClientOptions) {
    this.#client = options.client;
    this.#calls = new WorkflowCalls(options);
    this.#searchAttributes = new SearchAttributes(options.client);
  }

  /**
   * Starts the rollout, or finds the one with the same id and snapshot.
   * @throws `usage.invalid`; `rollout.conflict` when the id was used with another snapshot;
   *   `rollout.illegal-action` when another rollout of the fleet runs
   */
  async start(given: FleetStart): Promise<StartedFleet> {
    const { fleet, rolloutId, snapshot } = given;
    if (!isName(fleet) || !rolloutIdSchema.safeParse(rolloutId).success) {
      const reason = `"${fleet}" and "${rolloutId}" must be a fleet's name and a rollout id: 1 to 64, and 1 to 20, letters, digits, "_", "-"`;
      throw fail('usage.invalid', { reason });
    }
    const workflowId = fleetWorkflowId(fleet);
    const searchAttributes = await this.#searchAttributes.ours();
    const typedSearchAttributes = await this.#searchAttributes.pairs({
      QuorumshiftFleet: fleet,
      QuorumshiftState: 'running',
    });
    const digest = { name: 'snapshot', value: snapshot };
    const fresh = await this.#calls.startOnce(workflowId, {
      isSame: async (run) => {
        const standing = rolloutStanding(run, { ...subjectOf(fleet), rolloutId, digest });
        // One that failed or was terminated goes on in a new run, with what its clusters have done.
        return standing === 'open' || (standing === 'closed' && run.status.name === 'COMPLETED');
      },
      start: () =>
        this.#client.workflow.start<typeof migrateFleet>('migrateFleet', {
          workflowId,
          taskQueue: controlTaskQueue,
          args: [{ ...given, searchAttributes }],
          memo: { rolloutId, snapshot },
          typedSearchAttributes,
          workflowIdConflictPolicy: 'FAIL',
          workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        }),
    });
    return { fleet, rolloutId, workflowId, fresh };
  }

  /** @throws `rollout.not-found` */
  async status(fleet: string): Promise<FleetReport> {
    const { workflowId, text } = subjectOf(fleet);
    const description = await this.#calls.describe(workflowId);
    if (description === null) throw fail('rollout.not-found', { subject: text });
    const failed = description.status.name === 'FAILED';
    return {
      ...listingOf(description),
      status: await this.#calls.query<FleetStatus>(workflowId, 'fleetStatus'),
      failure: failed ? await this.#calls.failureOf(workflowId) : null,
    };
  }

  /** Reports until the rollout has ended, one after each `intervalMs`. */
  watch(fleet: string, options: WatchOptions): AsyncGenerator<FleetReport> {
    return watchRuns(() => this.status(fleet), options);
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

  /** Lets the next wave begin. @throws `rollout.illegal-action` when none waits for it */
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

  /** Leaves a cluster out that has not begun or has failed. @throws `rollout.illegal-action` */
  skip(fleet: string, cluster: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(fleet, 'skip', options, { cluster });
  }

  /** Takes back every cluster that is not final, the latest first; nothing more begins. */
  rollback(fleet: string, reason: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(fleet, 'rollback', options, { reason });
  }

  /** Finalizes all clusters that soak. @throws `rollout.illegal-action` when none does */
  complete(fleet: string, options?: OperationOptions): Promise<Accepted> {
    return this.#update(fleet, 'complete', options, {});
  }

  /** Rollouts of fleets that Temporal knows, newest first; visibility lags by a moment. */
  async list(options: { readonly limit: number }): Promise<FleetListing[]> {
    return allOf(options.limit, (request) => this.page(request));
  }

  /** One page of them; `next` is Temporal's own token, null at the end. */
  async page(request: RunPageRequest): Promise<Page<FleetListing>> {
    const of = { type: 'migrateFleet', prefix: workflowIdPrefix, ...request };
    const { items, next } = await runPage(this.#client, of);
    return { items: items.map(listedRun), next };
  }

  #handle(fleet: string): WorkflowHandle<typeof migrateFleet> {
    return this.#client.workflow.getHandle<typeof migrateFleet>(fleetWorkflowId(fleet));
  }

  #update(
    fleet: string,
    name: string,
    options: OperationOptions | undefined,
    extra: Readonly<Record<string, unknown>>,
  ): Promise<Accepted> {
    const subject = subjectOf(fleet);
    const notRunning = async () => notRunningError(name, subject, await this.status(fleet));
    return this.#calls.update(subject, { name, options, extra, notRunning });
  }
}

function subjectOf(fleet: string): Subject {
  return { workflowId: fleetWorkflowId(fleet), text: `fleet ${fleet}` };
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

function listedRun({ workflowId, memo, run, startedAt, closedAt }: Run): FleetListing {
  const fleet = workflowId.slice(workflowIdPrefix.length);
  return { fleet, rolloutId: memo('rolloutId'), run, startedAt, closedAt };
}

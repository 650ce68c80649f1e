/**
 * Starting, watching and steering migrations: the same whether it goes through the HTTP API or
 * straight to Temporal.
 */
import type { ProofName, StepProgress } from '../activities/contract.ts';
import type { ReplicaName } from '../core/ids.ts';
import type { MigrationInput } from '../schemas/migration.ts';
import type { Accepted, MigrationStatus } from '../workflows/messages.ts';
import type { PlanAnswer } from '../workflows/plan-replica.ts';
import type { AttemptReport } from './attempt-report.ts';
import type { OperationOptions, RunState } from './workflow-calls.ts';

/** What can be said of a migration from outside, even when its workflow does not answer. */
export interface MigrationReport {
  readonly replica: ReplicaName;
  readonly migrationId: string | null;
  readonly run: RunState;
  readonly startedAt: string;
  readonly closedAt: string | null;
  /** Null when no worker answered within 2 s, or the history is gone. */
  readonly status: MigrationStatus | null;
  /** Progress of the step under way, from its last heartbeat. */
  readonly progress: StepProgress | null;
  readonly attempt: AttemptReport | null;
  /** Why the run failed. */
  readonly failure: string | null;
}

export interface StartedMigration {
  readonly replica: ReplicaName;
  readonly migrationId: string;
  readonly workflowId: string;
  /** False when a migration with this id had been started before. */
  readonly fresh: boolean;
}

export interface MigrationListing {
  readonly replica: ReplicaName;
  readonly migrationId: string | null;
  readonly run: RunState;
  readonly startedAt: string;
  readonly closedAt: string | null;
}

export interface Migrations {
  /**
   * Starts the migration, or finds the one with the same id and input.
   * @throws `migration.conflict` when the id was used with another input;
   *   `migration.illegal-action` when another migration of the replica runs
   */
  start(input: MigrationInput): Promise<StartedMigration>;
  /**
   * What a start with this input would find; changes nothing.
   * @throws `agent.unreachable`, `control.unreachable`
   */
  plan(input: MigrationInput): Promise<PlanAnswer>;
  /** @throws `migration.not-found` */
  status(replica: ReplicaName): Promise<MigrationReport>;
  /** Reports until the migration has ended, one after each `intervalMs`. */
  watch(
    replica: ReplicaName,
    options: { readonly intervalMs: number; readonly signal?: AbortSignal },
  ): AsyncGenerator<MigrationReport>;
  /** Newest first; it lags by a moment. */
  list(options: { readonly limit: number }): Promise<MigrationListing[]>;
  pause(replica: ReplicaName, options?: OperationOptions): Promise<Accepted>;
  /** Ends a pause, and retries a step that waits for an operator. */
  resume(replica: ReplicaName, options?: OperationOptions): Promise<Accepted>;
  /** Approves the cutover on this very proof. @throws `proof.stale` */
  approve(replica: ReplicaName, proof: ProofName, options?: OperationOptions): Promise<Accepted>;
  /** Limits bulk work; null removes the limit. */
  throttle(
    replica: ReplicaName,
    bytesPerSecond: number | null,
    options?: OperationOptions,
  ): Promise<Accepted>;
  /** @throws `migration.illegal-action` when it is final or rolling back already */
  rollback(replica: ReplicaName, reason: string, options?: OperationOptions): Promise<Accepted>;
  /**
   * Gives a rollback up that moves the target's state back: the replica stays on the target, if
   * nothing changed there since it was fenced.
   * @throws `migration.illegal-action` unless it moves state back, and has not swapped yet
   */
  cancelRollback(
    replica: ReplicaName,
    reason: string,
    options?: OperationOptions,
  ): Promise<Accepted>;
  /**
   * Finalizes: retires the source; rollback is refused from then on.
   * @throws `migration.illegal-action`
   */
  complete(replica: ReplicaName, options?: OperationOptions): Promise<Accepted>;
  /** Ends the workflow and leaves the machine as it is; its record can be adopted later. */
  abandon(replica: ReplicaName, reason: string, options?: OperationOptions): Promise<Accepted>;
}

/**
 * How a migration is steered and watched. Updates record a wish and return at once; what they led
 * to is seen in the status. Each carries an operation id: the same id counts once, in every run.
 */
import { defineQuery, defineUpdate } from '@temporalio/workflow';

import type { BindingView, Finding, ProofName } from '../activities/contract.ts';
import type { Phase } from '../core/phases.ts';
import type { StepResult } from '../schemas/binding-record.ts';
import type { MigrationInput } from '../schemas/migration.ts';

export interface Operation {
  readonly operationId: string;
  readonly by: string;
}

/** Answer of every update. */
export interface Accepted {
  /** False when this operation id had been seen before. */
  readonly fresh: boolean;
  /** Of a rollback: the migration stands paused, and takes no step back before it is resumed. */
  readonly paused?: boolean;
}

export const pauseUpdate = defineUpdate<Accepted, [Operation]>('pause');
/** Ends a pause; retries what waits for an operator. */
export const resumeUpdate = defineUpdate<Accepted, [Operation]>('resume');
export const approveUpdate = defineUpdate<Accepted, [Operation & ProofName]>('approveCutover');
export const throttleUpdate = defineUpdate<
  Accepted,
  [Operation & { readonly bytesPerSecond: number | null }]
>('throttle');
export const rollbackUpdate = defineUpdate<Accepted, [Operation & { readonly reason: string }]>(
  'rollback',
);
/** Gives a reversal up before its swap: the replica stays on the target. */
export const forwardUpdate = defineUpdate<Accepted, [Operation & { readonly reason: string }]>(
  'cancelRollback',
);
/** Finalizes: ends the soak and retires the source. */
export const completeUpdate = defineUpdate<Accepted, [Operation]>('complete');
/** Ends the workflow and leaves the machine as it is: its record can be adopted later. */
export const abandonUpdate = defineUpdate<Accepted, [Operation & { readonly reason: string }]>(
  'abandon',
);

/** Why nothing moves, and since when. */
export interface Waiting {
  readonly kind:
    | 'paused'
    | 'approval'
    /** Another voter of the group is at risk. */
    | 'lease'
    | 'soak'
    | 'finalize'
    | 'host-unreachable'
    | 'failed'
    | 'held'
    | 'cancelled';
  readonly reason: string;
  readonly remedy: string;
  readonly sinceMs: number;
}

export type MigrationOutcome = 'finalized' | 'rolled-back' | 'abandoned' | 'superseded';

export interface MigrationStatus {
  readonly input: MigrationInput;
  /** Workflow id of the rollout that it belongs to; absent in answers of before. */
  readonly coordinator?: string | null;
  readonly agentId: string | null;
  readonly stage: 'preflight' | 'running' | 'ended';
  /** The step under way or waiting to be done; null before the replica is owned. */
  readonly phase: Phase | null;
  readonly view: BindingView | null;
  readonly waiting: Waiting | null;
  readonly paused: boolean;
  readonly bytesPerSecond: number | null;
  readonly approved: ProofName | null;
  readonly findings: readonly Finding[];
  /** The steps done in this run, newest last. */
  readonly results: readonly StepResult[];
  /** The compensations that a rollback wished for now would run, in order. */
  readonly compensations: readonly Phase[];
  readonly actions: readonly string[];
  readonly outcome: MigrationOutcome | null;
}

export const statusQuery = defineQuery<MigrationStatus>('status');

export interface MigrateReplicaRequest {
  readonly input: MigrationInput;
  readonly inputDigest: string;
  /** Wished for with the start: nothing goes forward before it has been decided. */
  readonly rollback?: Wish;
  /** Workflow id of the rollout that it belongs to. */
  readonly coordinator?: string;
  /** Search attributes that the namespace has; others must not be set. */
  readonly searchAttributes?: readonly string[];
  /** What a run hands to the next by continue-as-new. */
  readonly carried?: Carried;
}

export interface Carried {
  readonly paused: boolean;
  readonly bytesPerSecond: number | null;
  readonly approved: ProofName | null;
  /** Absent from runs of before; so are some of the next. */
  readonly approvedBy?: string | null;
  readonly approvedUntilMs?: number | null;
  readonly operationIds: readonly string[];
  readonly soakStartedMs: number | null;
  /** Absent from runs of before; the next likewise. */
  readonly soakProbedMs?: number | null;
  readonly soakValidatedMs?: number | null;
  readonly soakFailures?: number;
  /** Wishes that had not been fulfilled yet. */
  readonly rollbackWish: Wish | null;
  readonly completeWish: Wish | null;
  readonly abandonWish: Wish | null;
  /** Absent from runs of before. */
  readonly forwardWish?: Wish | null;
  readonly cancelled: boolean;
  readonly coordinator?: string | null;
  readonly reports?: number;
  readonly leases?: readonly HeldLease[];
}

/** A group's lease that was granted. */
export interface HeldLease {
  readonly group: string;
  readonly requestId: string;
}

/** What an operator asked for, once. */
export interface Wish {
  readonly by: string;
  readonly reason: string;
}

export interface MigrateReplicaResult {
  readonly outcome: MigrationOutcome;
  readonly reason: string | null;
}

/**
 * How cluster and fleet rollouts are steered and watched, and what parents and children tell each
 * other. Children report by signal to the parent's workflow id, each report whole: the newest
 * counts, and one that comes twice changes nothing. A new run of a parent asks for them again.
 */
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';

import type { ProofName } from '../activities/contract.ts';
import type { ReplicaName } from '../core/ids.ts';
import type { MigrationMode, Phase } from '../core/phases.ts';
import type { MemberStanding, Refusal } from '../core/quorum.ts';
import type { ClusterRollout } from '../schemas/cluster-rollout.ts';
import type { RolloutPolicy } from '../schemas/rollout-policy.ts';
import type { Accepted, MigrationOutcome, Operation, Waiting } from './messages.ts';

/* A replica's migration and its cluster's rollout. */

/** Of a replica's migration, told to the rollout that coordinates it. */
export interface MemberReport {
  readonly member: string;
  readonly migrationId: string;
  /** Raised with each report of the migration, over all its runs, terminated ones included. */
  readonly seq: number;
  readonly phase: Phase | null;
  readonly rollingBack: boolean;
  readonly waiting: Waiting | null;
  /** What a cutover would rest on. */
  readonly proof: ProofName | null;
  /** What the soak's last probe or comparison found; null: it is well. */
  readonly soakProblem: string | null;
  readonly outcome: MigrationOutcome | null;
  /** Why it goes back or ended as it did, or why its run failed; then there is no outcome. */
  readonly reason: string | null;
  readonly failed: boolean;
}

/** To `cluster/<name>`. */
export const memberReportSignal = defineSignal<[MemberReport]>('memberReport');

export interface CoordinateRequest {
  readonly coordinator: string | null;
  readonly migrationId: string;
  /** Who asks; gets the one report of another migration. */
  readonly asker: string;
}

/**
 * To `replica/<cluster>/<member>`: report to this workflow, now and from now on. Another migration
 * than this one reports once and stays its operators'. Null: nobody coordinates it any more.
 */
export const coordinateSignal = defineSignal<[CoordinateRequest]>('coordinate');

/** What a rollout tells a member's migration to do; each like the operator's update of its name. */
export type MemberOrder = Operation & {
  /** Another migration of the replica is not meant; absent in histories of before. */
  readonly migrationId?: string;
} &
  // What is not begun by `notAfterMs` (Unix time; the end of the window) is to be asked for anew.
  (
    | { readonly order: 'begin'; readonly notAfterMs?: number }
    | { readonly order: 'pause' | 'resume' | 'complete' }
    | {
        readonly order: 'approveCutover';
        readonly proof: ProofName;
        readonly notAfterMs?: number;
      }
    | { readonly order: 'throttle'; readonly bytesPerSecond: number | null }
    | { readonly order: 'rollback' | 'abandon'; readonly reason: string }
  );

/** To `replica/<cluster>/<member>`: of a stopped one, `begin` lets it put its member at risk. */
export const memberOrderSignal = defineSignal<[MemberOrder]>('memberOrder');

/* A group's lease: one voter at risk at a time (I14). */

export interface LeaseRequest {
  /** The same request is counted once; a newer one of the same holder takes its place. */
  readonly requestId: string;
  /** Workflow id of the migration, whose member is at risk while it holds the lease. */
  readonly holder: string;
  readonly migrationId: string;
  readonly replica: ReplicaName;
  readonly host: string;
  readonly agentId: string;
  /** An operator answers for the group: granted at once, beside whoever holds it. */
  readonly standalone: boolean;
  /** It was granted, perhaps by a run that was lost. */
  readonly isHeld?: boolean;
}

/** To `group/<cluster>`. */
export const acquireLeaseSignal = defineSignal<[LeaseRequest]>('acquireLease');
export const releaseLeaseSignal =
  defineSignal<[{ readonly holder: string; readonly requestId: string }]>('releaseLease');

export interface LeaseAnswer {
  readonly group: string;
  readonly requestId: string;
  readonly granted: boolean;
  /** What keeps it, of one that was not granted. */
  readonly reason: string;
}

/** To whoever asked: it is granted, or why it is not yet. */
export const leaseAnswerSignal = defineSignal<[LeaseAnswer]>('leaseAnswer');

export interface LeaseStatus {
  readonly holders: readonly (LeaseRequest & { readonly sinceMs: number })[];
  readonly queue: readonly LeaseRequest[];
  /** Why the first of the queue waits; null where none does. */
  readonly reason: string | null;
}

export const leaseStatusQuery = defineQuery<LeaseStatus>('leaseStatus');

export interface GroupLeaseRequest {
  readonly group: string;
  /** A run before was terminated, or failed: who holds it is not known. */
  readonly isUnsure?: boolean;
  /** What a run hands to the next. */
  readonly carried?: Pick<LeaseStatus, 'holders' | 'queue'>;
}

/* A cluster's rollout. */

export type MemberStage =
  | 'pending'
  | 'moving'
  /** Cut over, verified and soaking: holds no slot. */
  | 'soaking'
  | 'finalized'
  | 'rolled-back'
  | 'skipped'
  | 'failed';

export interface MemberStatus {
  readonly member: string;
  readonly host: string;
  readonly stage: MemberStage;
  /** Which of the shape's stages: storage or binary. */
  readonly step: 'storage' | 'binary';
  readonly migrationId: string | null;
  readonly report: MemberReport | null;
  /** As its preflight found it; null before. */
  readonly size: MemberSize | null;
  /** Why it failed, was rolled back or left out. */
  readonly reason: string | null;
  /** As the group was looked at last; null before. */
  readonly standing: MemberStanding | null;
}

export interface MemberSize {
  readonly mode: MigrationMode;
  readonly entries: string;
  readonly bytes: number;
}

export type ClusterStage =
  | 'preflight'
  | 'moving'
  | 'soaking'
  /** A member failed: nothing moves until an operator has chosen. */
  | 'failed'
  | 'rolling-back'
  | 'finalizing'
  | 'ended';

export type RolloutOutcome = 'finalized' | 'rolled-back' | 'partly' | 'abandoned';

export interface RolloutWaiting extends Omit<Waiting, 'kind'> {
  readonly kind:
    | Waiting['kind']
    | 'health'
    | 'window'
    | 'wave-approval'
    /** For a slot of its fleet. */
    | 'slot'
    | 'member'
    | 'budget'
    | 'stopped';
}

export interface ClusterStatus {
  readonly rollout: ClusterRollout;
  readonly stage: ClusterStage;
  readonly members: readonly MemberStatus[];
  /** In the order in which they will go, as far as it is known now. */
  readonly order: readonly string[];
  readonly waiting: RolloutWaiting | null;
  readonly refusals: readonly Refusal[];
  readonly paused: boolean;
  readonly actions: readonly string[];
  readonly outcome: RolloutOutcome | null;
}

export const clusterStatusQuery = defineQuery<ClusterStatus>('clusterStatus');

export interface MigrateClusterRequest {
  /** Whole, or to be read from a fleet's snapshot. */
  readonly rollout:
    | { readonly kind: 'given'; readonly input: ClusterRollout }
    | {
        readonly kind: 'snapshot';
        readonly snapshot: string;
        readonly cluster: string;
        /** Another than the snapshot's: runs of a schedule share one snapshot. */
        readonly rolloutId?: string;
      };
  /** Workflow id of the fleet that coordinates it; null for one that was started alone. */
  readonly coordinator: string | null;
  /** Wished for with the start; a fleet's pause and throttle. */
  readonly paused?: boolean;
  readonly bytesPerSecond?: number | null;
  /** Of the fleet: what has not been cut over by then is not any more. */
  readonly deadlineAtMs?: number | null;
  /** Search attributes that the namespace has; others must not be set. */
  readonly searchAttributes?: readonly string[];
  readonly carried?: CarriedCluster;
}

/** What a run hands to the next; its shape is migrate-cluster's own. */
export type CarriedCluster = Readonly<Record<string, unknown>>;

export interface MigrateClusterResult {
  readonly outcome: RolloutOutcome;
  readonly members: Readonly<Record<string, MemberStage>>;
  readonly reason: string | null;
}

export const clusterPauseUpdate = defineUpdate<Accepted, [Operation]>('pause');
/** Ends a pause, and tries again what failed, as a new migration where the old one has ended. */
export const clusterResumeUpdate = defineUpdate<Accepted, [Operation]>('resume');
export const clusterApproveUpdate = defineUpdate<Accepted, [Operation]>('approve');
export const clusterThrottleUpdate = defineUpdate<
  Accepted,
  [Operation & { readonly bytesPerSecond: number | null }]
>('throttle');
/** Leaves the member where it is; it must not be under way. */
export const clusterSkipUpdate = defineUpdate<Accepted, [Operation & { readonly member: string }]>(
  'skip',
);
/** One member, or all that have moved, in reverse order. */
export const clusterRollbackUpdate = defineUpdate<
  Accepted,
  [Operation & { readonly member: string | null; readonly reason: string }]
>('rollback');
/** Finalizes all that soak. */
export const clusterCompleteUpdate = defineUpdate<Accepted, [Operation]>('complete');
/** Ends the workflow; the members' migrations go on by themselves. */
export const clusterAbandonUpdate = defineUpdate<
  Accepted,
  [Operation & { readonly reason: string }]
>('abandon');

/* A cluster's rollout and its fleet. */

/** Told to the fleet. */
export interface ClusterReport {
  readonly cluster: string;
  readonly rolloutId: string;
  readonly seq: number;
  readonly stage: ClusterStage;
  readonly waiting: RolloutWaiting | null;
  readonly moved: number;
  readonly total: number;
  readonly outcome: RolloutOutcome | null;
  readonly reason: string | null;
}

export interface SentClusterReport extends ClusterReport {
  /** Of its members; only where it waits for a slot. */
  readonly hosts?: readonly string[];
}

/** To `fleet/<name>`. */
export const clusterReportSignal = defineSignal<[SentClusterReport]>('clusterReport');
/** To `cluster/<name>`: report to this fleet, now and from now on. */
export const coordinateClusterSignal =
  defineSignal<[{ readonly coordinator: string }]>('coordinateCluster');

export type ClusterOrder = Operation &
  (
    | { readonly order: 'pause' | 'resume' | 'approve' | 'complete' }
    /** It has a slot for its second step. */
    | { readonly order: 'next-step' }
    | { readonly order: 'throttle'; readonly bytesPerSecond: number | null }
    | { readonly order: 'rollback' | 'abandon'; readonly reason: string }
  );

/** To `cluster/<name>`. */
export const clusterOrderSignal = defineSignal<[ClusterOrder]>('clusterOrder');

/* A fleet's rollout. */

export interface WaveStatus {
  readonly name: string;
  /** Clusters, of the whole fleet's order, that have begun with the end of it. */
  readonly upTo: number;
  /** `failed`: a cluster of it has, and waits for an operator. */
  readonly state: 'pending' | 'running' | 'soaking' | 'approval' | 'failed' | 'done';
}

export interface FleetCounts {
  readonly total: number;
  /** Those left out included. */
  readonly begun: number;
  readonly moving: number;
  readonly soaking: number;
  readonly finalized: number;
  readonly rolledBack: number;
  readonly failed: number;
  readonly skipped: number;
}

export interface FleetClusterReport extends ClusterReport {
  /** Counted from 0. */
  readonly wave: number;
}

export interface FleetStatus {
  readonly fleet: string;
  readonly rolloutId: string;
  readonly snapshot: string;
  readonly policy: RolloutPolicy;
  readonly stage: 'running' | 'stopped' | 'budget-spent' | 'finalizing' | 'rolling-back' | 'ended';
  readonly wave: number;
  readonly waves: readonly WaveStatus[];
  readonly counts: FleetCounts;
  /** Those under way, soaking or failed now: at most some hundred. */
  readonly clusters: readonly FleetClusterReport[];
  readonly waiting: RolloutWaiting | null;
  readonly startedMs: number;
  readonly paused: boolean;
  readonly bytesPerSecond: number | null;
  readonly actions: readonly string[];
  readonly outcome: RolloutOutcome | null;
}

export const fleetStatusQuery = defineQuery<FleetStatus>('fleetStatus');

export interface MigrateFleetRequest {
  readonly fleet: string;
  readonly rolloutId: string;
  /** Digest of the immutable snapshot of inventory and policy. */
  readonly snapshot: string;
  readonly policy: RolloutPolicy;
  readonly requestedBy: string;
  /** Search attributes that the namespace has; others must not be set. */
  readonly searchAttributes?: readonly string[];
  readonly carried?: CarriedFleet;
}

export interface MigrateFleetResult {
  readonly outcome: RolloutOutcome;
  readonly counts: FleetCounts;
  readonly reason: string | null;
}

/** What a run hands to the next; its shape is migrate-fleet's own. */
export type CarriedFleet = Readonly<Record<string, unknown>>;

export const fleetPauseUpdate = defineUpdate<Accepted, [Operation]>('pause');
export const fleetResumeUpdate = defineUpdate<Accepted, [Operation]>('resume');
/** Lets the next wave begin. */
export const fleetApproveUpdate = defineUpdate<Accepted, [Operation]>('approve');
export const fleetThrottleUpdate = defineUpdate<
  Accepted,
  [Operation & { readonly bytesPerSecond: number | null }]
>('throttle');
/** Emergency stop: nothing begins, what is under way pauses, within seconds. `resume` ends it. */
export const fleetStopUpdate = defineUpdate<Accepted, [Operation & { readonly reason: string }]>(
  'stop',
);
/** Retries failed clusters (resume), or leaves them out (skip). */
export const fleetSkipUpdate = defineUpdate<Accepted, [Operation & { readonly cluster: string }]>(
  'skip',
);
export const fleetRollbackUpdate = defineUpdate<
  Accepted,
  [Operation & { readonly reason: string }]
>('rollback');
export const fleetCompleteUpdate = defineUpdate<Accepted, [Operation]>('complete');

/* Schedules. */

/** What each run of a schedule is given. */
export interface ScheduledFleetRequest {
  readonly schedule: string;
  readonly fleet: string;
  readonly snapshot: string;
  readonly policy: RolloutPolicy;
  /** When the fleet is still rolled out, whoever started that. */
  readonly overlap: 'skip' | 'buffer-one';
  readonly searchAttributes?: readonly string[];
  /** What a run that waits hands to the next: the id that follows from its scheduled time. */
  readonly rolloutId?: string;
}

export type ScheduledFleetResult =
  | (MigrateFleetResult & { readonly rolloutId: string })
  /** Left out, because another rollout of the fleet was under way. */
  | { readonly outcome: 'skipped'; readonly rolloutId: string; readonly reason: string };

export interface WatchScheduleRequest {
  readonly schedule: string;
  /** Missed runs that have been told of. */
  readonly told?: number;
}

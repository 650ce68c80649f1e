/**
 * What workflows and agents say to each other: plain JSON, one object each way, versioned by
 * `contractVersion`. Bulk data never passes here; every message stays below 10 kB.
 */
import type { FleetCluster, FleetPage } from '../control/fleet-page.ts';
import type { ClusterResult } from '../control/rollout-table.ts';
import type { ReplicaName } from '../core/ids.ts';
import type { Direction, MigrationMode, Phase, StepPhase } from '../core/phases.ts';
import type { RaftView } from '../core/raft-view.ts';
import type { StepResult } from '../schemas/binding-record.ts';
import type { ClusterRollout } from '../schemas/cluster-rollout.ts';
import type { MigrationInput } from '../schemas/migration.ts';
import type { MaintenanceWindow } from '../schemas/rollout-policy.ts';

/** Named by every activity that touches a machine: a mismatch is refused before any effect. */
export interface Addressee {
  readonly contractVersion: number;
  /** The agent's persisted uuid. */
  readonly agentId: string;
  readonly replica: ReplicaName;
}

export interface PingAnswer {
  readonly agentId: string;
  readonly contractVersions: { readonly min: number; readonly max: number };
}

/** One preflight check: what was measured against which limit. */
export interface Finding {
  readonly check: string;
  readonly ok: boolean;
  readonly measured: string;
  readonly limit: string;
  /** Empty when ok. */
  readonly remedy: string;
  /** The registry's, where it failed with one; absent in histories of before. */
  readonly code?: string;
}

export interface PreflightAnswer {
  readonly findings: readonly Finding[];
  readonly entries: string;
  readonly bytes: number;
  /** How it would be moved. */
  readonly mode: MigrationMode;
}

export interface OwnActivityRequest {
  readonly agentId: string;
  readonly input: MigrationInput;
  readonly inputDigest: string;
  readonly claim: string;
  readonly expectedLease: number;
}

/** The approvable fact: a proof by its digest, in the generation it was made for. */
export interface ProofName {
  readonly digest: string;
  readonly generation: number;
}

/** What a workflow knows of a replica's record. */
export interface BindingView {
  readonly lease: number;
  readonly generation: number;
  readonly migrationId: string | null;
  readonly phase: Phase | null;
  readonly direction: Direction;
  /** Absent in histories of before. */
  readonly mode?: MigrationMode;
  /** Highest step number that has begun. */
  readonly step: number;
  readonly proof: ProofName | null;
  /** Log URI of the primary, and the tag that it is parked under. */
  readonly primary: { readonly log: string; readonly parkedTag: string | null };
  readonly rollingBack: boolean;
  /** The migration that ended last; absent in histories of before. */
  readonly lastEnded?: string | null;
}

/** What was last wished of a migration's bulk work, by whichever workflow. */
export interface ControlWish {
  readonly paused: boolean;
  readonly bytesPerSecond: number | null;
}

export type OwnAnswer =
  | {
      readonly kind: 'owned';
      readonly view: BindingView;
      /** Null where nothing has been wished of this migration yet. */
      readonly control: ControlWish | null;
    }
  | { readonly kind: 'ended'; readonly result: 'finalized' | 'rolled-back' | 'abandoned' };

export interface StepRequest extends Addressee {
  readonly migrationId: string;
  readonly lease: number;
  readonly step: number;
  /** For `swap` under a policy of manual approval: what was approved. */
  readonly approved?: ProofName;
  /** For `swap`, Unix time: the end of the window that it was granted in. Absent: none ends. */
  readonly notAfterMs?: number;
  /** Who let it begin: approved the cutover, or ended the soak. Absent: the policy did. */
  readonly decidedBy?: string;
}

/** Of a replica that soaks under this lease. */
export interface SoakRequest extends Addressee {
  readonly migrationId: string;
  readonly lease: number;
}

export interface SoakAnswer {
  /** Null: it serves as it should. */
  readonly failure: string | null;
}

/** A step's result and the record after it. */
export interface StepAnswer {
  readonly result: StepResult;
  readonly view: BindingView;
}

export interface DecisionRequest extends StepRequest {
  readonly by: string;
  readonly reason: string;
}

export interface ControlRequest extends Addressee {
  /** Of two wishes the later counts, whichever comes last. */
  readonly order: { readonly lease: number; readonly version: number };
  readonly paused: boolean;
  readonly bytesPerSecond: number | null;
}

/** Heartbeat details of bulk steps; what `status` shows as progress. */
export interface StepProgress {
  readonly phase: Phase;
  readonly entriesDone: number;
  readonly entriesTotal: number;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly bytesPerSecond: number;
  readonly paused: boolean;
}

/**
 * Activities on `host-<id>`: one for each step, named as its phase, and the decisions to turn.
 */
export type StepActivities = {
  readonly [P in StepPhase]: (request: StepRequest) => Promise<StepAnswer>;
};

export interface HostActivities extends StepActivities {
  preflight(request: Addressee & { readonly input: MigrationInput }): Promise<PreflightAnswer>;
  checkSoak(request: SoakRequest): Promise<SoakAnswer>;
  own(request: OwnActivityRequest): Promise<OwnAnswer>;
  decideRollback(request: DecisionRequest): Promise<StepAnswer>;
  /** Ends a reversal: the replica is to stay on the target. */
  decideForward(request: DecisionRequest): Promise<StepAnswer>;
}

/** Of the member that lies on the agent's own machine. */
export interface MemberAnswer {
  /** Null where its adapter got no answer; `problem` says why. */
  readonly raft: RaftView | null;
  readonly problem: string | null;
  /** Its binding record; null where it has none. */
  readonly binding: BindingView | null;
  /** Other replicas that stop when its process does. */
  readonly sharesProcessWith: readonly ReplicaName[];
}

/** The agent's uuid where it is pinned. */
export interface MemberRequest extends Omit<Addressee, 'agentId'> {
  readonly agentId: string | null;
}

export interface TransferRequest extends MemberRequest {
  /** Raft id of whom the leadership is to go to. */
  readonly to: string;
}

/** What `doctor` asks of an agent. */
export interface MachineAnswer extends PingAnswer {
  /** Of the agent's release. */
  readonly version: string;
  /** Its clock, milliseconds since 1970. */
  readonly nowMs: number;
  /** Of what it has on the machine: its permissions. */
  readonly findings: readonly Finding[];
}

export interface ListReplicasRequest {
  readonly contractVersion: number;
  /** `<cluster>/<member>`: those after it, by name. Null: from the first. */
  readonly after: string | null;
  readonly limit: number;
}

/** A replica that the machine's state directory knows. */
export interface HostedReplica {
  readonly replica: ReplicaName;
  /** Null: a directory without a record. */
  readonly primary: BindingView['primary'] | null;
  readonly phase: Phase | null;
  readonly migrationId: string | null;
  /** Why its record cannot be read. */
  readonly problem: string | null;
}

export interface ReplicaPage {
  readonly replicas: readonly HostedReplica[];
  /** Where the next page begins; null at the end. */
  readonly next: string | null;
  /** On the machine. */
  readonly total: number;
}

export interface ListProofsRequest {
  readonly contractVersion: number;
  readonly replica: ReplicaName;
  /** The name of a file: those older than it. Null: from the newest. */
  readonly after: string | null;
  readonly limit: number;
}

/** A proof, or what a comparison found that was none: a file of the replica's `proofs/`. */
export interface ProofFile {
  readonly file: string;
  readonly kind: 'proof' | 'report';
  readonly bytes: number;
  /** Of a proof: what it is named by; null for a report, and for a file that is damaged. */
  readonly digest: string | null;
  /** ISO 8601, UTC; null where `digest` is. */
  readonly createdAt: string | null;
}

export interface ProofPage {
  /** The newest first, by migration: what names say. */
  readonly files: readonly ProofFile[];
  /** Where the next page begins; null at the end. */
  readonly next: string | null;
}

export interface ReadProofRequest {
  readonly contractVersion: number;
  readonly replica: ReplicaName;
  readonly file: string;
  /** In bytes. */
  readonly from: number;
}

export interface ProofPart {
  readonly base64: string;
  /** Where the next part begins; null at the end. */
  readonly next: number | null;
}

/** Activities on `host-<id>-control`: short, with slots of their own. */
export interface ControlActivities {
  ping(): Promise<PingAnswer>;
  readMachine(): Promise<MachineAnswer>;
  listReplicas(request: ListReplicasRequest): Promise<ReplicaPage>;
  listProofs(request: ListProofsRequest): Promise<ProofPage>;
  /** Null where there is no such file. */
  readProof(request: ReadProofRequest): Promise<ProofPart | null>;
  readBinding(request: Addressee): Promise<BindingView | null>;
  setControl(request: ControlRequest): Promise<void>;
  /** Asks the member itself, through the adapter of the agent's configuration. */
  readMember(request: MemberRequest): Promise<MemberAnswer>;
  /** Asked of the leader's own agent; answers once the cluster was told, not once it is done. */
  transferLeadership(request: TransferRequest): Promise<void>;
}

export type { ClusterResult, FleetCluster, FleetPage };

/** A line of the audit trail, written before what it tells of is done (I18). */
export interface AuditEntry {
  /** The same id is written once. */
  readonly id: string;
  readonly by: string;
  readonly action: string;
  /** `fleet/<name>`, `cluster/<name>`, `replica/<cluster>/<member>`. */
  readonly subject: string;
  readonly reason: string;
  readonly digests: readonly string[];
}

export interface Notice {
  readonly kind: 'waiting' | 'failed' | 'ended';
  readonly subject: string;
  readonly text: string;
}

export type WindowAnswer =
  | { readonly open: true; readonly closesInMs: number | null }
  | { readonly open: false; readonly opensInMs: number | null };

/** How a workflow stands, from the server itself, not from visibility. */
export interface RunAnswer {
  readonly workflowId: string;
  readonly state: 'running' | 'closed' | 'absent';
  /** Of a cluster's or a fleet's rollout, from its memo. */
  readonly rolloutId: string | null;
}

export interface ScheduleAnswer {
  readonly exists: boolean;
  /** Runs that did not begin within the catch-up window, ever. */
  readonly missed: number;
  readonly nextAtMs: number | null;
}

/** Activities on `quorumshift-store`, where the control plane's own store lies. */
export interface StoreActivities {
  /** Of the immutable snapshot with this digest. */
  readFleetPage(request: {
    readonly snapshot: string;
    readonly from: number;
    readonly limit: number;
  }): Promise<FleetPage>;
  readClusterRollout(request: {
    readonly snapshot: string;
    readonly cluster: string;
  }): Promise<ClusterRollout>;
  audit(entry: AuditEntry): Promise<void>;
  notify(notice: Notice): Promise<void>;
  windowAt(request: {
    readonly windows: readonly MaintenanceWindow[];
    readonly atMs: number;
  }): Promise<WindowAnswer>;
  /**
   * Notes durably that a fleet's rollout has begun, once; `fresh` the first time. So a run that
   * follows one that was terminated knows that clusters may be under way.
   * @throws `rollout.conflict` when the id was used with another snapshot
   */
  openRollout(request: {
    readonly fleet: string;
    readonly rolloutId: string;
    readonly snapshot: string;
  }): Promise<{ readonly fresh: boolean; readonly startedMs: number }>;
  /** Durable when it returns; a later result of the same cluster and rollout replaces it. */
  recordResult(
    request: ClusterResult & { readonly fleet: string; readonly rolloutId: string },
  ): Promise<void>;
  /** Those of `clusters` whose results this rollout has recorded. */
  endedClusters(request: {
    readonly fleet: string;
    readonly rolloutId: string;
    readonly clusters: readonly string[];
  }): Promise<ClusterResult[]>;
  /** By the id that the server has of it. */
  describeSchedule(request: { readonly schedule: string }): Promise<ScheduleAnswer>;
  describeRuns(request: { readonly workflowIds: readonly string[] }): Promise<RunAnswer[]>;
}

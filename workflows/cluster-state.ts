/** What a cluster's rollout remembers: its members, and what operators and its fleet wish. */
import { ApplicationFailure, workflowInfo } from '@temporalio/workflow';

import type { Refusal } from '../core/quorum.ts';
import type { ClusterRollout } from '../schemas/cluster-rollout.ts';
import { canGoBack, clusterReport } from './cluster-status.ts';
import { memberAttemptOf } from './member-input.ts';
import type { Operation, Wish } from './messages.ts';
import { SeenOperations } from './operations.ts';
import type {
  CarriedCluster,
  SentClusterReport,
  ClusterStage,
  MemberReport,
  MigrateClusterRequest,
  RolloutOutcome,
  RolloutWaiting,
} from './rollout-messages.ts';
import type { Decision, Recorded, StoreProblem } from './store-records.ts';
import { isMoved, takeReport, trackedMember, type TrackedMember } from './tracked-members.ts';

interface PassedOn {
  readonly paused: boolean;
  readonly bytesPerSecond: number | null;
}

/** Plain, so that it survives the JSON between two runs. */
interface Carried {
  readonly members: readonly TrackedMember[];
  readonly startedMs: number;
  readonly coordinator: string | null;
  readonly reports: number;
  readonly operations: number;
  readonly operationIds: readonly string[];
  readonly isChecked: boolean;
  readonly isApproved: boolean;
  readonly paused: boolean;
  readonly bytesPerSecond: number | null;
  readonly passed: PassedOn;
  /** Absent from runs of before; the next likewise. */
  readonly approvedBy?: string | null;
  readonly completedBy?: string | null;
  readonly completeWish: boolean;
  readonly abandonWish: Wish | null;
  readonly takeBack: readonly string[];
  readonly takeBackWish: Wish | null;
  /** Absent from runs of before. */
  readonly needsSlot?: boolean;
}

export class ClusterState implements Recorded {
  readonly isFirstRun: boolean;
  /** Its members stand as their records and migrations say. */
  #isFound: boolean;
  /** Signals that came before it was known what it is about. */
  #early: (() => void)[] = [];
  /** All are to go back, wished for before they had been found. */
  #earlyBack: Wish | null = null;
  members: readonly TrackedMember[] = [];
  readonly startedMs: number;
  coordinator: string | null;
  reports: number;
  /** Raised whenever it asks for a report, or gives an order. */
  coordinatedAt = 0;
  /** Orders given so far: ids of theirs. */
  operations: number;
  stage: ClusterStage = 'preflight';
  waiting: RolloutWaiting | null = null;
  refusals: readonly Refusal[] = [];
  order: readonly string[] = [];
  outcome: RolloutOutcome | null = null;
  endReason: string | null = null;
  /** Every member's preflight has passed. */
  isChecked: boolean;
  /** Cutovers may begin. */
  isApproved: boolean;
  /** Null: the policy, or whoever started it. */
  approvedBy: string | null;
  paused: boolean;
  /** Raised by each pause. */
  pauses = 0;
  bytesPerSecond: number | null;
  /** What the members under way were told last. */
  passed: PassedOn;
  completeWish: boolean;
  completedBy: string | null;
  abandonWish: Wish | null;
  /** Members to be rolled back, first to last. */
  takeBack: readonly string[];
  takeBackWish: Wish | null;
  /** Its second step is to begin once its fleet says so. */
  needsSlot: boolean;
  /** Raised by everything that may end a wait. */
  version = 0;
  /** Raised by resume. */
  retryVersion = 0;
  /** Another migration of a pending member, which runs already. */
  foreign: MemberReport | null = null;
  /** By member: what any migration of it said last to this run. */
  readonly lastSaid = new Map<string, MemberReport>();
  readonly decisions: Decision[] = [];
  storeProblem: StoreProblem | null = null;
  /** It has come to its outcome, which is being written down: nothing is wished of it any more. */
  isOver = false;
  #rollout: ClusterRollout | null = null;
  readonly #deadlineAtMs: number;
  readonly #seen: SeenOperations;

  constructor(request: MigrateClusterRequest) {
    // Its shape is this class's own.
    const carried = request.carried as Carried | undefined;
    this.isFirstRun = carried === undefined;
    this.#isFound = !this.isFirstRun;
    this.#deadlineAtMs = request.deadlineAtMs ?? Infinity;
    this.members = (carried?.members ?? []).map((member) => ({ ...member }));
    this.startedMs = carried?.startedMs ?? Date.now();
    this.coordinator = carried ? carried.coordinator : request.coordinator;
    // A run that comes after one that was terminated goes on above its numbers.
    this.reports = carried?.reports ?? workflowInfo().startTime.getTime();
    this.operations = carried?.operations ?? 0;
    this.#seen = new SeenOperations(carried?.operationIds);
    this.isChecked = carried?.isChecked ?? false;
    this.isApproved = carried?.isApproved ?? false;
    this.approvedBy = carried?.approvedBy ?? null;
    this.paused = carried?.paused ?? request.paused ?? false;
    this.bytesPerSecond = carried?.bytesPerSecond ?? request.bytesPerSecond ?? null;
    this.passed = carried?.passed ?? { paused: false, bytesPerSecond: this.bytesPerSecond };
    this.completeWish = carried?.completeWish ?? false;
    this.completedBy = carried?.completedBy ?? null;
    this.abandonWish = carried?.abandonWish ?? null;
    this.takeBack = carried?.takeBack ?? [];
    this.takeBackWish = carried?.takeBackWish ?? null;
    this.needsSlot = carried?.needsSlot ?? false;
  }

  /** What it is about, once that is known. */
  take(rollout: ClusterRollout): void {
    this.#rollout = rollout;
    if (this.isFirstRun) this.#begin(rollout);
  }

  #begin(rollout: ClusterRollout): void {
    const { policy } = rollout;
    const step = policy.shape === 'binary' ? 'binary' : 'storage';
    this.members = rollout.members.map((spec) => trackedMember(spec, step));
    this.isApproved ||= policy.approval === 'none';
    this.bytesPerSecond ??= policy.replica.bytesPerSecond;
    this.passed = { paused: false, bytesPerSecond: this.bytesPerSecond };
  }

  /** Its members have been found: what was wished of all of them is wished of those. */
  found(): void {
    this.#isFound = true;
    if (this.#earlyBack !== null) this.wishBack(null, this.#earlyBack);
  }

  get rollout(): ClusterRollout {
    if (this.#rollout === null) {
      throw ApplicationFailure.nonRetryable('its snapshot has not been read yet');
    }
    return this.#rollout;
  }

  carried(): CarriedCluster {
    const { members, startedMs, coordinator, reports, operations, isChecked, isApproved } = this;
    const { paused, bytesPerSecond, passed } = this;
    const { approvedBy, completeWish, completedBy, abandonWish, takeBack, takeBackWish } = this;
    const { needsSlot } = this;
    const carried: Carried = {
      members,
      startedMs,
      coordinator,
      reports,
      operations,
      operationIds: this.#seen.ids,
      isChecked,
      isApproved,
      paused,
      bytesPerSecond,
      passed,
      approvedBy,
      completeWish,
      completedBy,
      abandonWish,
      takeBack,
      takeBackWish,
      needsSlot,
    };
    return { ...carried };
  }

  /** The earlier of its own and its fleet's; none is infinite. */
  get deadlineMs(): number {
    const { deadlineSeconds } = this.rollout.policy;
    const own = deadlineSeconds === null ? Infinity : this.startedMs + deadlineSeconds * 1000;
    return Math.min(own, this.#deadlineAtMs);
  }

  /** Until it is too late for what it would begin. */
  get waitsForSlot(): boolean {
    return this.needsSlot && this.coordinator !== null && Date.now() < this.deadlineMs;
  }

  get moved(): number {
    return this.members.filter(isMoved).length;
  }

  /** What ends a wait for a member in any case. */
  get hasWish(): boolean {
    return this.abandonWish !== null || this.takeBack.length > 0;
  }

  of(stage: TrackedMember['stage']): readonly TrackedMember[] {
    return this.members.filter((member) => member.stage === stage);
  }

  named(name: string): TrackedMember | undefined {
    return this.members.find(({ spec }) => spec.member === name);
  }

  /** Those that failed or went back, of which nobody has said yet what becomes of them. */
  get undecided(): readonly TrackedMember[] {
    return this.members.filter(({ stage }) => stage === 'failed' || stage === 'rolled-back');
  }

  /** Once it is known what it is about: a handler that throws would fail the workflow. */
  soon(act: () => void): void {
    if (this.#rollout === null) this.#early.push(act);
    else act();
  }

  /** What came before it was known. */
  hearEarly(): void {
    for (const hear of this.#early.splice(0)) hear();
  }

  /** All that have moved, or one: newest first. */
  wishBack(member: string | null, { by, reason }: Wish): void {
    if (!this.#isFound && member === null) {
      this.#earlyBack = { by, reason };
      return;
    }
    const all = this.members
      .filter((one) => canGoBack(one))
      .toSorted((a, b) => (b.movedAs ?? Infinity) - (a.movedAs ?? Infinity))
      .map(({ spec }) => spec.member);
    this.takeBack = member === null ? all : [...this.takeBack, member];
    this.takeBackWish = { by, reason };
    // What is being started has its migration already.
    for (const name of this.takeBack) {
      const one = this.named(name);
      if (one?.stage === 'pending') one.stage = 'moving';
    }
    if (member !== null) return;
    for (const failed of this.of('failed')) {
      if (failed.report?.outcome === 'rolled-back') failed.stage = 'rolled-back';
    }
    for (const pending of this.of('pending')) {
      pending.stage = 'skipped';
      pending.reason = `rolled back: ${reason}`;
    }
  }

  /** Another migration that is open for the member of this name. */
  foreignTo(name: string): MemberReport | null {
    const { foreign } = this;
    if (foreign?.member !== name || foreign.outcome !== null || foreign.failed) return null;
    return foreign;
  }

  report(): SentClusterReport {
    this.reports += 1;
    return clusterReport(this, this.reports);
  }

  hear(report: MemberReport): void {
    const member = this.named(report.member);
    if (member === undefined) return;
    // One that a run before this has begun, and whose record does not name it yet.
    const runs = report.outcome === null && !report.failed;
    const earlier = memberAttemptOf(report.migrationId, this.rollout.rolloutId);
    const isUnknown = member.migrationId === null || (!this.#isFound && member.report === null);
    if (isUnknown && runs && earlier !== null) {
      Object.assign(member, earlier, { migrationId: report.migrationId, stage: 'moving' });
    }
    this.lastSaid.set(report.member, report);
    member.isHeard = true;
    if (report.migrationId !== member.migrationId) this.foreign = report;
    const newest = Math.max(0, ...this.members.map(({ movedAs }) => movedAs ?? 0));
    takeReport(member, report, newest);
    this.version += 1;
  }

  /** Notes that it was asked for; false when it has been before. */
  isNew(operation: Operation): boolean {
    return this.#seen.isNew(operation);
  }
}

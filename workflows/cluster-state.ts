/**
 * What a cluster's rollout remembers: its members, and what operators and its fleet wish. Handlers
 * are registered before the first await; they check, record and return.
 */
import { ApplicationFailure, setHandler, workflowInfo } from '@temporalio/workflow';

import type { ClusterRollout } from '../schemas/cluster-rollout.ts';
import { canBeSkipped, canGoBack, clusterReport, clusterStatus } from './cluster-status.ts';
import { memberAttemptOf } from './member-input.ts';
import type { Accepted, Operation } from './messages.ts';
import { refuse, SeenOperations } from './operations.ts';
import {
  clusterAbandonUpdate,
  clusterApproveUpdate,
  clusterCompleteUpdate,
  clusterOrderSignal,
  clusterPauseUpdate,
  clusterResumeUpdate,
  clusterRollbackUpdate,
  clusterSkipUpdate,
  clusterStatusQuery,
  clusterThrottleUpdate,
  coordinateClusterSignal,
  memberReportSignal,
  type CarriedCluster,
  type ClusterOrder,
  type ClusterReport,
  type ClusterStage,
  type MemberReport,
  type MigrateClusterRequest,
  type RolloutOutcome,
  type RolloutWaiting,
} from './rollout-messages.ts';
import type { Refusal } from '../core/quorum.ts';
import { isMoved, takeReport, trackedMember, type TrackedMember } from './tracked-members.ts';

interface Wish {
  readonly by: string;
  readonly reason: string;
}

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
  readonly completeWish: boolean;
  readonly abandonWish: Wish | null;
  readonly takeBack: readonly string[];
  readonly takeBackWish: Wish | null;
}

export class ClusterState {
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
  paused: boolean;
  bytesPerSecond: number | null;
  /** What the members under way were told last. */
  passed: PassedOn;
  completeWish: boolean;
  abandonWish: Wish | null;
  /** Members to be rolled back, first to last. */
  takeBack: readonly string[];
  takeBackWish: Wish | null;
  /** Raised by everything that may end a wait. */
  version = 0;
  /** Raised by resume. */
  retryVersion = 0;
  /** Another migration of a pending member, which runs already. */
  foreign: MemberReport | null = null;
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
    this.paused = carried?.paused ?? request.paused ?? false;
    this.bytesPerSecond = carried?.bytesPerSecond ?? request.bytesPerSecond ?? null;
    this.passed = carried?.passed ?? { paused: false, bytesPerSecond: this.bytesPerSecond };
    this.completeWish = carried?.completeWish ?? false;
    this.abandonWish = carried?.abandonWish ?? null;
    this.takeBack = carried?.takeBack ?? [];
    this.takeBackWish = carried?.takeBackWish ?? null;
  }

  /** What it is about, once that is known. */
  take(rollout: ClusterRollout): void {
    this.#rollout = rollout;
    if (this.isFirstRun) this.#begin(rollout);
    for (const hear of this.#early.splice(0)) hear();
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
    const { completeWish, abandonWish, takeBack, takeBackWish } = this;
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
      completeWish,
      abandonWish,
      takeBack,
      takeBackWish,
    };
    return { ...carried };
  }

  /** The earlier of its own and its fleet's; none is infinite. */
  get deadlineMs(): number {
    const { deadlineSeconds } = this.rollout.policy;
    const own = deadlineSeconds === null ? Infinity : this.startedMs + deadlineSeconds * 1000;
    return Math.min(own, this.#deadlineAtMs);
  }

  get moved(): number {
    return this.members.filter(isMoved).length;
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

  registerHandlers(): void {
    setHandler(clusterStatusQuery, () => clusterStatus(this));
    setHandler(memberReportSignal, (report) => this.#soon(() => this.#heard(report)));
    setHandler(clusterPauseUpdate, (operation) => this.#once(operation, () => this.#pause(true)));
    setHandler(clusterResumeUpdate, (operation) => this.#once(operation, () => this.#pause(false)));
    setHandler(clusterApproveUpdate, (operation) =>
      this.#once(operation, () => {
        this.isApproved = true;
      }),
    );
    setHandler(clusterThrottleUpdate, (operation) =>
      this.#once(operation, () => {
        this.bytesPerSecond = operation.bytesPerSecond;
      }),
    );
    setHandler(
      clusterSkipUpdate,
      (operation) => this.#once(operation, () => this.#skip(operation.member)),
      { validator: ({ member }: { member: string }) => this.#checkSkip(member) },
    );
    setHandler(
      clusterRollbackUpdate,
      (operation) => this.#once(operation, () => this.wishBack(operation.member, operation)),
      { validator: ({ member }: { member: string | null }) => this.#checkRollback(member) },
    );
    setHandler(
      clusterCompleteUpdate,
      (operation) =>
        this.#once(operation, () => {
          this.completeWish = true;
        }),
      { validator: (_operation) => this.#checkComplete() },
    );
    setHandler(clusterAbandonUpdate, (operation) =>
      this.#once(operation, () => {
        this.abandonWish = { by: operation.by, reason: operation.reason };
      }),
    );
    setHandler(coordinateClusterSignal, ({ coordinator }) => {
      this.coordinator = coordinator;
      this.coordinatedAt += 1;
      this.version += 1;
    });
    setHandler(clusterOrderSignal, (order) => this.#soon(() => this.#obey(order)));
  }

  /** A handler that throws would fail the workflow. */
  #soon(act: () => void): void {
    if (this.#rollout === null) this.#early.push(act);
    else act();
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

  report(): ClusterReport {
    this.reports += 1;
    return clusterReport(this, this.reports);
  }

  #heard(report: MemberReport): void {
    const member = this.named(report.member);
    if (member === undefined) return;
    // One that a run before this has begun, and whose record did not name it yet.
    const runs = report.outcome === null && !report.failed;
    const earlier = memberAttemptOf(report.migrationId, this.rollout.rolloutId);
    if (member.migrationId === null && runs && earlier !== null) {
      Object.assign(member, earlier, { migrationId: report.migrationId, stage: 'moving' });
    }
    member.isHeard = true;
    if (report.migrationId !== member.migrationId) this.foreign = report;
    const newest = Math.max(0, ...this.members.map(({ movedAs }) => movedAs ?? 0));
    takeReport(member, report, newest);
    this.version += 1;
  }

  #pause(paused: boolean): void {
    this.paused = paused;
    if (!paused) this.retryVersion += 1;
  }

  #skip(name: string): void {
    const member = this.named(name);
    if (member === undefined) return;
    member.stage = 'skipped';
    member.reason ??= 'an operator left it out';
  }

  /** A fleet's order that is not legal now changes nothing; the report that follows says why. */
  #obey(order: ClusterOrder): void {
    this.#once(order, () => {
      switch (order.order) {
        case 'pause':
        case 'resume':
          return this.#pause(order.order === 'pause');
        case 'approve':
          this.isApproved = true;
          return;
        case 'complete':
          this.completeWish = this.of('soaking').length > 0;
          return;
        case 'throttle':
          this.bytesPerSecond = order.bytesPerSecond;
          return;
        case 'abandon':
          this.abandonWish = { by: order.by, reason: order.reason };
          return;
        case 'rollback':
          this.wishBack(null, order);
      }
    });
    this.coordinatedAt += 1;
    this.version += 1;
  }

  #once(operation: Operation, act: () => void): Accepted {
    if (!this.#seen.isNew(operation)) return { fresh: false };
    act();
    this.version += 1;
    return { fresh: true, paused: this.paused };
  }

  #checkSkip(name: string): void {
    const member = this.#known(name);
    if (canBeSkipped(this, member)) return;
    this.#refuse(`leave ${name} out of`, 'it must not be under way', `${name} is ${member.stage}`);
  }

  #checkRollback(name: string | null): void {
    if (name === null) {
      if (this.members.some((one) => canGoBack(one))) return;
      this.#refuse('roll back', 'a member must have begun and not be final', 'none is');
    }
    const member = this.#known(name);
    if (canGoBack(member)) return;
    const required = 'it must have begun and not be final';
    this.#refuse(`roll back ${name} of`, required, `it is ${member.stage}`);
  }

  #checkComplete(): void {
    if (this.of('soaking').length > 0) return;
    this.#refuse('finalize', 'a member must be soaking', 'none is');
  }

  #known(name: string): TrackedMember {
    const member = this.named(name);
    if (member !== undefined) return member;
    return this.#refuse('find a member of', 'it must be declared', `${name} is not`);
  }

  #refuse(action: string, required: string, actual: string): never {
    const subject = `cluster ${this.rollout.cluster}`;
    refuse('rollout.illegal-action', { action, subject, required, actual });
  }
}

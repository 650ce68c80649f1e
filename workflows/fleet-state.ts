/**
 * What a fleet's rollout remembers: its place in the fleet's order, the clusters that have not
 * ended, what operators wish. Handlers check, record and return; each decision is written to the
 * audit trail, before it takes effect unless it only holds things still.
 */
import type { UpdateDefinition } from '@temporalio/common';
import { ApplicationFailure, setHandler } from '@temporalio/workflow';

import type { ClusterResult, FleetCluster, Notice } from '../activities/contract.ts';
import { fail } from '../core/errors.ts';
import { BegunPositions, isBudgetSpent, planWaves, type PlannedWave } from '../core/fleet-plan.ts';
import {
  carriedMember,
  memberOf,
  takeReport,
  type CarriedMember,
  type FleetMember,
  type Order,
  type Standing,
} from './fleet-clusters.ts';
import type { Accepted, Operation, Wish } from './messages.ts';
import {
  clusterReportSignal,
  fleetApproveUpdate,
  fleetCompleteUpdate,
  fleetPauseUpdate,
  fleetResumeUpdate,
  fleetRollbackUpdate,
  fleetSkipUpdate,
  fleetStatusQuery,
  fleetStopUpdate,
  fleetThrottleUpdate,
  type ClusterReport,
  type FleetCounts,
  type MigrateFleetRequest,
  type RolloutOutcome,
  type RolloutWaiting,
} from './rollout-messages.ts';
import { fleetStatus } from './fleet-status.ts';

/** Operation ids kept for deduplication: far more than an operator issues in one run. */
const rememberedOperations = 200;

type Ended = Record<'finalized' | 'rolledBack' | 'skipped', number>;

export interface Ending {
  readonly result: ClusterResult;
  /** Null for one that never began. */
  readonly member: FleetMember | null;
}

/** A decision on its way into the audit trail, and what it leads to then. */
export interface Decision {
  readonly id: string;
  readonly by: string;
  readonly action: string;
  readonly reason: string;
  readonly effect: (() => void) | null;
}

/** What a run hands to the next: plain, and small (see fleet-clusters.ts). */
export interface FleetMemory {
  readonly startedMs: number;
  readonly total: number;
  /** Positions that have begun. */
  readonly cursor: number;
  readonly ahead: readonly number[];
  /** Null once those that an earlier run had begun are known. */
  readonly adoptFrom: number | null;
  /** Clusters of this rollout may have results from before this chain of runs. */
  readonly known: boolean;
  readonly begun: number;
  readonly ended: Ended;
  readonly open: readonly CarriedMember[];
  /** Left out by name before they began. */
  readonly skip: readonly string[];
  /** Waves that may begin: so many. */
  readonly approvedWaves: number;
  /** Waves whose beginning is in the audit trail, and which have been finalized, if that is so. */
  readonly announcedWaves: number;
  readonly completedWaves: number;
  readonly paused: boolean;
  readonly bytesPerSecond: number | null;
  readonly stopped: Wish | null;
  readonly rollback: Wish | null;
  readonly operationIds: readonly string[];
  readonly waiting: Pick<RolloutWaiting, 'kind' | 'sinceMs'> | null;
}

export class FleetState {
  readonly request: MigrateFleetRequest;
  startedMs: number;
  total: number;
  adoptFrom: number | null;
  known: boolean;
  begun: number;
  readonly ended: Ended;
  readonly positions: BegunPositions;
  readonly open = new Map<string, FleetMember>();
  readonly skip: Set<string>;
  approvedWaves: number;
  announcedWaves: number;
  completedWaves: number;
  paused: boolean;
  bytesPerSecond: number | null;
  stopped: Wish | null;
  rollback: Wish | null;
  /** What it waits for, and since when: told once. */
  waiting: Pick<RolloutWaiting, 'kind' | 'sinceMs'> | null;
  /** Not carried: asked for again. */
  waves: readonly PlannedWave[] = [];
  window: { readonly open: boolean; readonly untilMs: number | null } | null = null;
  /** The store has not answered for some time. */
  storeAway = false;
  outcome: RolloutOutcome | null = null;
  /** Raised by whatever may let something begin. */
  version = 0;
  readonly decisions: Decision[] = [];
  readonly notices: Omit<Notice, 'subject'>[] = [];
  /** To be recorded, and then forgotten here. */
  readonly endings: Ending[] = [];
  /** Members that have something in their outbox. */
  readonly mail = new Set<FleetMember>();
  #operationIds: string[];

  constructor(request: MigrateFleetRequest) {
    const carried = request.carried as FleetMemory | undefined;
    this.request = request;
    this.startedMs = carried?.startedMs ?? Date.now();
    this.total = carried?.total ?? 0;
    this.adoptFrom = carried === undefined ? 0 : carried.adoptFrom;
    this.known = carried?.known ?? true;
    this.begun = carried?.begun ?? 0;
    this.ended = { ...(carried?.ended ?? { finalized: 0, rolledBack: 0, skipped: 0 }) };
    this.positions = new BegunPositions(carried ?? { cursor: 0, ahead: [] });
    for (const member of carried?.open ?? []) this.add(memberOf(member));
    this.skip = new Set(carried?.skip);
    this.approvedWaves = carried?.approvedWaves ?? this.#wavesBeforeAsking();
    this.announcedWaves = carried?.announcedWaves ?? 0;
    this.completedWaves = carried?.completedWaves ?? 0;
    this.paused = carried?.paused ?? false;
    this.bytesPerSecond = carried?.bytesPerSecond ?? null;
    this.stopped = carried?.stopped ?? null;
    this.rollback = carried?.rollback ?? null;
    this.waiting = carried?.waiting ?? null;
    this.#operationIds = [...(carried?.operationIds ?? [])];
    if (this.total > 0) this.waves = planWaves(request.policy.waves, this.total);
  }

  memory(): FleetMemory {
    const { startedMs, total, adoptFrom, known, begun, ended, positions, paused } = this;
    const { approvedWaves, announcedWaves, completedWaves, bytesPerSecond } = this;
    const { stopped, rollback, waiting } = this;
    return {
      ...{ startedMs, total, adoptFrom, known, begun, ended, paused, bytesPerSecond },
      ...{ approvedWaves, announcedWaves, completedWaves, stopped, rollback, waiting },
      cursor: positions.cursor,
      ahead: positions.ahead,
      open: [...this.open.values()].map(carriedMember),
      skip: [...this.skip],
      operationIds: this.#operationIds,
    };
  }

  /** The start is the approval of the first wave. */
  #wavesBeforeAsking(): number {
    const { approval, waves } = this.request.policy;
    return approval === 'per-wave' ? 1 : waves.length;
  }

  add(member: FleetMember): void {
    this.open.set(member.cluster, member);
  }

  /** Nothing is to move or begin. */
  get holds(): boolean {
    return this.paused || this.stopped !== null;
  }

  members(...standings: Standing[]): FleetMember[] {
    return [...this.open.values()].filter(({ standing }) => standings.includes(standing));
  }

  get failures(): number {
    let failures = 0;
    for (const { counts } of this.open.values()) failures += counts ? 1 : 0;
    return failures;
  }

  get budgetSpent(): boolean {
    return isBudgetSpent(this.request.policy.failureBudget, this.failures, this.total);
  }

  get deadlineAtMs(): number | null {
    const { deadlineSeconds } = this.request.policy;
    return deadlineSeconds === null ? null : this.startedMs + deadlineSeconds * 1000;
  }

  get isLate(): boolean {
    return this.deadlineAtMs !== null && Date.now() >= this.deadlineAtMs;
  }

  /** The wave whose clusters may begin, or are to soak. What failed within the budget is passed. */
  get wave(): number {
    const unsoaked = this.members('under-way', 'soaking', 'foreign');
    const first = Math.min(this.positions.cursor, ...unsoaked.map(({ position }) => position));
    const wave = this.waves.findIndex(({ to }) => first < to);
    return wave === -1 ? this.waves.length : wave;
  }

  counts(): FleetCounts {
    const of = (...standings: Standing[]) => this.members(...standings).length;
    return {
      total: this.total,
      begun: this.positions.count,
      moving: of('under-way', 'foreign'),
      soaking: of('soaking', 'soaked'),
      finalized: this.ended.finalized,
      rolledBack: this.ended.rolledBack,
      failed: of('failed'),
      skipped: this.ended.skipped,
    };
  }

  /** A cluster of the fleet, as it begins. */
  begin({ cluster, hosts, position }: FleetCluster & { readonly position: number }) {
    this.positions.add(position);
    this.begun += 1;
    return { cluster, hosts, position, begun: this.begun };
  }

  /** Tells it in the order of the calls, as soon as it can be told. */
  tell(member: FleetMember, ...orders: Order[]): void {
    member.outbox.push(...orders);
    this.mail.add(member);
  }

  registerHandlers(): void {
    setHandler(fleetStatusQuery, () => fleetStatus(this));
    setHandler(clusterReportSignal, (report) => this.#hear(report));
    this.#on(fleetPauseUpdate, {
      atOnce: true,
      effect: () => this.#hold(() => (this.paused = true)),
    });
    this.#on(fleetStopUpdate, {
      atOnce: true,
      effect: ({ by, reason }) => this.#hold(() => (this.stopped = { by, reason })),
      reason: ({ reason }) => reason,
    });
    this.#on(fleetThrottleUpdate, {
      atOnce: true,
      effect: ({ bytesPerSecond }) => this.#throttle(bytesPerSecond),
      reason: ({ bytesPerSecond }) => `${bytesPerSecond ?? 'no limit'}`,
    });
    this.#on(fleetResumeUpdate, { effect: () => this.#resume() });
    this.#on(fleetApproveUpdate, {
      check: () => this.#checkApproval(),
      effect: () => (this.approvedWaves = this.wave + 1),
    });
    this.#on(fleetSkipUpdate, {
      check: ({ cluster }) => this.#checkSkip(cluster),
      effect: ({ cluster }) => this.#leaveOut(cluster),
      reason: ({ cluster }) => cluster,
    });
    this.#on(fleetRollbackUpdate, {
      check: () => this.#require(this.rollback === null, 'roll back', 'it must not yet'),
      effect: (wish) => this.#rollBack(wish),
      reason: ({ reason }) => reason,
    });
    this.#on(fleetCompleteUpdate, {
      check: () =>
        this.#require(this.counts().soaking > 0, 'finalize', 'some cluster must be soaking'),
      effect: () => {
        for (const member of this.members('soaking', 'soaked')) {
          this.tell(member, { order: 'complete' });
        }
      },
    });
  }

  /** As a workflow's cancel, whoever asked for it. */
  cancel(): void {
    this.#hold(() => (this.stopped = { by: 'cancel', reason: 'the workflow was cancelled' }));
    this.version += 1;
  }

  count(outcome: ClusterResult['outcome']): void {
    if (outcome === 'finalized') this.ended.finalized += 1;
    else if (outcome === 'rolled-back') this.ended.rolledBack += 1;
    else this.ended.skipped += 1;
  }

  /** It is over for this rollout, once its result is recorded. */
  end(member: FleetMember, outcome: ClusterResult['outcome'], reason: string | null): void {
    member.standing = 'ended';
    member.counts = false;
    this.mail.delete(member);
    this.endings.push({ result: { cluster: member.cluster, outcome, reason }, member });
    this.version += 1;
  }

  /** It stands still, for this reason, until an operator has chosen. */
  fails(member: FleetMember, reason: string): void {
    member.standing = 'failed';
    member.counts = !member.rollingBack;
    member.retry = false;
    member.reason = reason;
    this.notices.push({ kind: 'failed', text: `${member.cluster} failed: ${reason}` });
    this.version += 1;
  }

  /** Its workflow has ended, as it says; what nobody wished for is a failure. */
  ends(member: FleetMember, outcome: RolloutOutcome, reason: string | null): void {
    const wished = member.rollingBack || outcome === 'finalized' || outcome === 'partly';
    if (wished) this.end(member, outcome, reason);
    else {
      member.absent = true;
      this.fails(member, `it ended ${outcome}: ${reason ?? 'by an operator'}`);
    }
  }

  #hear(report: ClusterReport): void {
    const member = this.open.get(report.cluster);
    if (member === undefined || report.rolloutId !== this.request.rolloutId) return;
    const before = member.standing;
    if (before === 'ended' || !takeReport(member, report)) return;
    this.version += 1;
    if (report.outcome !== null) this.ends(member, report.outcome, report.reason);
    else if (member.standing === 'failed' && before !== 'failed') {
      const reason = report.reason ?? report.waiting?.reason ?? 'a member failed';
      this.notices.push({ kind: 'failed', text: `${member.cluster} failed: ${reason}` });
    }
  }

  /** What the rollout decides by itself is in the audit trail, too. */
  decide(id: string, action: string, reason: string): void {
    this.decisions.push({ id, by: 'quorumshift', action, reason, effect: null });
  }

  #on<Given extends Operation>(
    update: UpdateDefinition<Accepted, [Given], string>,
    how: {
      /** Before it is in the audit trail: it only holds things still. */
      readonly atOnce?: boolean;
      readonly check?: (given: Given) => void;
      readonly effect: (given: Given) => void;
      readonly reason?: (given: Given) => string;
    },
  ): void {
    const { atOnce = false, check, effect, reason } = how;
    const handler = (given: Given): Accepted => {
      const { operationId, by } = given;
      if (this.#operationIds.includes(operationId)) return { fresh: false };
      this.#operationIds = [...this.#operationIds, operationId].slice(-rememberedOperations);
      const act = () => {
        effect(given);
        this.version += 1;
      };
      if (atOnce) act();
      this.decisions.push({
        id: operationId,
        by,
        action: update.name,
        reason: reason?.(given) ?? '',
        effect: atOnce ? null : act,
      });
      return { fresh: true };
    };
    setHandler(update, handler, { validator: (given: Given) => check?.(given) });
  }

  #hold(set: () => void): void {
    const held = this.holds;
    set();
    if (held) return;
    // Those under way first: each is a signal, and all are sent at once.
    const soaking = this.members('soaking', 'soaked');
    for (const member of [...this.members('under-way', 'failed'), ...soaking]) {
      this.tell(member, { order: 'pause' });
    }
  }

  #throttle(bytesPerSecond: number | null): void {
    this.bytesPerSecond = bytesPerSecond;
    for (const member of this.members('under-way', 'failed')) {
      this.tell(member, { order: 'throttle', bytesPerSecond });
    }
  }

  /** Ends a pause or stop; what failed is tried again, each once its slots are free. */
  #resume(): void {
    const held = this.holds;
    this.paused = false;
    this.stopped = null;
    for (const member of this.open.values()) {
      // Before its turn to go back, what is under way stands still.
      const goes = this.rollback === null || member.rollingBack;
      const stands = held || member.report?.waiting?.kind === 'paused';
      member.lost = 0;
      if (member.standing === 'failed') member.retry = goes;
      else if (stands && goes) this.tell(member, { order: 'resume' });
    }
  }

  #leaveOut(cluster: string): void {
    const member = this.open.get(cluster);
    if (member === undefined) this.skip.add(cluster);
    else if (member.standing === 'failed') this.end(member, 'skipped', 'an operator left it out');
  }

  #rollBack({ by, reason }: Wish): void {
    this.rollback = { by, reason };
    // What is under way stands still until its turn; held members are told only then.
    for (const member of this.members('under-way')) this.tell(member, { order: 'pause' });
  }

  #checkApproval(): void {
    const { approval } = this.request.policy;
    this.#require(approval === 'per-wave', 'approve', 'its policy must ask for each wave');
    this.#require(this.approvedWaves <= this.wave, 'approve', 'a wave must be waiting for it');
  }

  #checkSkip(cluster: string): void {
    const standing = this.open.get(cluster)?.standing;
    if (standing === undefined || standing === 'failed') return;
    throw refusal({
      action: `skip ${cluster} in`,
      replica: `fleet ${this.request.fleet}`,
      required: 'it must not be under way',
      actual: `it is ${standing}`,
    });
  }

  #require(holds: boolean, action: string, required: string): void {
    if (holds) return;
    const replica = `fleet ${this.request.fleet}`;
    throw refusal({ action, replica, required, actual: `it is ${fleetStatus(this).stage}` });
  }
}

/** The caller sees code, message and remedy. */
function refusal(details: Parameters<typeof fail<'migration.illegal-action'>>[1]) {
  const error = fail('migration.illegal-action', details);
  return ApplicationFailure.nonRetryable(error.message, error.code, error.details);
}

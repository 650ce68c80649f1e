/**
 * What a fleet's rollout remembers: its place in the fleet's order, the clusters that have not
 * ended, what operators wish.
 */
import { uuid4 } from '@temporalio/workflow';

import type { AuditEntry, ClusterResult, FleetCluster, Notice } from '../activities/contract.ts';
import { BegunPositions, isBudgetSpent, planWaves, type PlannedWave } from '../core/fleet-plan.ts';
import { fleetWorkflowId } from '../core/ids.ts';
import {
  carriedMember,
  memberOf,
  takeReport,
  type CarriedMember,
  type FleetMember,
  type Order,
  type Standing,
} from './fleet-clusters.ts';
import type { Wish } from './messages.ts';
import { SeenOperations } from './operations.ts';
import type {
  SentClusterReport,
  FleetCounts,
  MigrateFleetRequest,
  RolloutOutcome,
  RolloutWaiting,
} from './rollout-messages.ts';
import type { Decision, Recorded, StoreProblem } from './store-records.ts';
import { tellsLess } from './less-told.ts';

type Ended = Record<'finalized' | 'rolledBack' | 'skipped', number>;

export interface Ending {
  readonly result: ClusterResult;
  /** Null for one that never began. */
  readonly member: FleetMember | null;
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
  /** Waves whose beginning is in the audit trail. */
  readonly announcedWaves: number;
  readonly paused: boolean;
  readonly bytesPerSecond: number | null;
  readonly stopped: Wish | null;
  readonly rollback: Wish | null;
  readonly operationIds: readonly string[];
  readonly waiting: Pick<RolloutWaiting, 'kind' | 'sinceMs'> | null;
}

export class FleetState implements Recorded {
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
  paused: boolean;
  bytesPerSecond: number | null;
  stopped: Wish | null;
  /** Raised by each pause and stop. */
  holdings = 0;
  rollback: Wish | null;
  /** What it waits for, and since when: told once. */
  waiting: Pick<RolloutWaiting, 'kind' | 'sinceMs'> | null;
  /** Not carried: asked for again. */
  waves: readonly PlannedWave[] = [];
  window: { readonly open: boolean; readonly untilMs: number | null } | null = null;
  storeProblem: StoreProblem | null = null;
  outcome: RolloutOutcome | null = null;
  /** Raised by whatever may let something begin. */
  version = 0;
  readonly decisions: Decision[] = [];
  readonly notices: Omit<Notice, 'subject'>[] = [];
  /** To be recorded, and then forgotten here. */
  readonly endings: Ending[] = [];
  /** Members that have something in their outbox. */
  readonly mail = new Set<FleetMember>();
  readonly operations: SeenOperations;

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
    this.paused = carried?.paused ?? false;
    this.bytesPerSecond = carried?.bytesPerSecond ?? null;
    this.stopped = carried?.stopped ?? null;
    this.rollback = carried?.rollback ?? null;
    this.waiting = carried?.waiting ?? null;
    this.operations = new SeenOperations(carried?.operationIds);
    if (this.total > 0) this.waves = planWaves(request.policy.waves, this.total);
  }

  memory(): FleetMemory {
    const { startedMs, total, adoptFrom, known, begun, ended, positions, paused } = this;
    const { approvedWaves, announcedWaves, bytesPerSecond } = this;
    const { stopped, rollback, waiting } = this;
    return {
      startedMs,
      total,
      adoptFrom,
      known,
      begun,
      ended,
      paused,
      bytesPerSecond,
      approvedWaves,
      announcedWaves,
      stopped,
      rollback,
      waiting,
      cursor: positions.cursor,
      ahead: positions.ahead,
      open: [...this.open.values()].map(carriedMember),
      skip: [...this.skip],
      operationIds: this.operations.ids,
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
    const unsoaked = this.members('under-way', 'between-steps', 'soaking', 'foreign');
    const first = Math.min(this.positions.cursor, ...unsoaked.map(({ position }) => position));
    const wave = this.waves.findIndex(({ to }) => first < to);
    return wave === -1 ? this.waves.length : wave;
  }

  counts(): FleetCounts {
    const of = (...standings: Standing[]) => this.members(...standings).length;
    return {
      total: this.total,
      begun: this.positions.count,
      moving: of('under-way', 'between-steps', 'foreign'),
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
    if (!member.starting) this.mail.add(member);
  }

  /** Its workflow runs, or does not: what was wished meanwhile is sent. */
  started(member: FleetMember): void {
    member.starting = false;
    if (member.outbox.length > 0) this.mail.add(member);
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
    // At the deadline what has not been cut over goes back. Histories of before take it for failed.
    const late = outcome === 'rolled-back' && this.isLate && tellsLess();
    if (wished || late) this.end(member, outcome, reason);
    else {
      member.absent = true;
      this.fails(member, `it ended ${outcome}: ${reason ?? 'by an operator'}`);
    }
  }

  hear(report: SentClusterReport): void {
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
  decide(action: string, reason: string): void {
    this.record({ by: 'quorumshift', action, reason });
  }

  /** Writes a line; `effect` follows once that is durable. */
  record(
    line: Pick<AuditEntry, 'by' | 'action' | 'reason'>,
    effect: (() => void) | null = null,
  ): void {
    const { fleet, snapshot } = this.request;
    const subject = fleetWorkflowId(fleet);
    this.decisions.push({
      entry: { ...line, id: uuid4(), subject, digests: [snapshot] },
      effect,
    });
  }
}

/**
 * What a running migration remembers between its steps: wishes of operators and the last known
 * record.
 */
import { ApplicationFailure, patched, workflowInfo } from '@temporalio/workflow';

import type { BindingView, ControlWish, Finding, ProofName } from '../activities/contract.ts';
import { forwardStart, rollbackStart, type Phase } from '../core/phases.ts';
import type { StepResult } from '../schemas/binding-record.ts';
import type {
  Carried,
  HeldLease,
  MigrateReplicaRequest,
  MigrationOutcome,
  MigrationStatus,
  Operation,
  Waiting,
  Wish,
} from './messages.ts';
import { SeenOperations } from './operations.ts';
import { positionOf } from './position.ts';
import type { LeaseAnswer } from './rollout-messages.ts';
import { tellsLess } from './less-told.ts';

/** Waits that a resume ends. */
export const endedByResume: readonly Waiting['kind'][] = ['paused', 'failed', 'held', 'cancelled'];

export class MigrationState {
  readonly request: MigrateReplicaRequest;
  stage: MigrationStatus['stage'] = 'preflight';
  agentId: string | null;
  view: BindingView | null = null;
  findings: readonly Finding[] = [];
  waiting: Waiting | null = null;
  outcome: MigrationOutcome | null = null;
  readonly results: StepResult[] = [];
  paused: boolean;
  bytesPerSecond: number | null;
  approved: ProofName | null;
  approvedBy: string | null;
  /** When the window ends that it was approved for; null: none does. */
  approvedUntilMs: number | null;
  /** Why the last approval was of no use any more; null: it was, or there was none. */
  tooLate: string | null = null;
  soakStartedMs: number | null;
  soakProbedMs: number | null;
  soakValidatedMs: number | null;
  /** Probes in a row that failed. */
  soakFailures: number;
  /** Of the last probe; null when it was well. */
  soakProblem: string | null = null;
  /** Raised whenever pause or throttle change: the control loop sends them to the machine. */
  controlVersion = 0;
  /** Raised by resume: ends a wait for an operator. */
  retryVersion = 0;
  rollbackWish: Wish | null;
  completeWish: Wish | null;
  abandonWish: Wish | null;
  forwardWish: Wish | null;
  cancelled: boolean;
  /** Workflow id of the rollout that the migration reports to; null: it has none. */
  coordinator: string | null;
  /** No workflow ran under the id at the last report. */
  coordinatorIsGone = false;
  /** Raised whenever it asks for a report. */
  coordinatedAt = 0;
  /** A rollout that this migration is none of: gets one report. */
  asker: string | null = null;
  /** Number of the newest. */
  reports: number;
  leases: readonly HeldLease[];
  /** The newest, by group. */
  leaseAnswers: Readonly<Record<string, LeaseAnswer>> = {};
  /** Why the run failed; null while it has not. */
  failure: string | null = null;
  endReason: string | null = null;
  /** The machine's record names this migration, or did: what is undone is undone by steps. */
  hasBegun = false;
  /** Its rollout has said that its member may be put at risk now, and until when. */
  #mayBeginUntilMs: number | null = null;
  #earlyComplete: Wish | null = null;
  /** What was wished of this run, or of one that handed on to it. */
  #wished = { pause: false, limit: false };
  readonly #operations: SeenOperations;

  constructor(request: MigrateReplicaRequest) {
    const { carried, input } = request;
    this.request = request;
    this.agentId = input.agentId;
    this.paused = carried?.paused ?? false;
    this.bytesPerSecond = carried ? carried.bytesPerSecond : input.policy.bytesPerSecond;
    this.approved = carried?.approved ?? null;
    this.approvedBy = carried?.approvedBy ?? null;
    this.approvedUntilMs = carried?.approvedUntilMs ?? null;
    this.soakStartedMs = carried?.soakStartedMs ?? null;
    this.soakProbedMs = carried?.soakProbedMs ?? null;
    this.soakValidatedMs = carried?.soakValidatedMs ?? null;
    this.soakFailures = carried?.soakFailures ?? 0;
    this.rollbackWish = carried ? carried.rollbackWish : (request.rollback ?? null);
    this.completeWish = carried?.completeWish ?? null;
    this.abandonWish = carried?.abandonWish ?? null;
    this.forwardWish = carried?.forwardWish ?? null;
    this.cancelled = carried?.cancelled ?? false;
    this.coordinator = carried ? (carried.coordinator ?? null) : (request.coordinator ?? null);
    // A run that adopts a replica after one that was terminated goes on above its numbers.
    this.reports = carried?.reports ?? workflowInfo().startTime.getTime();
    this.leases = carried?.leases ?? [];
    this.#operations = new SeenOperations(carried?.operationIds);
    if (carried) this.#wished = { pause: true, limit: true };
  }

  /** Of the agent that has answered. */
  get knownAgent(): string {
    if (this.agentId === null) throw ApplicationFailure.nonRetryable('no agent has been reached');
    return this.agentId;
  }

  get phase(): Phase | null {
    return this.view?.phase ?? null;
  }

  /** Whether a rollback is wished for that may still be decided. */
  get wantsRollback(): boolean {
    if (this.rollbackWish === null || this.view === null) return false;
    return rollbackStart(positionOf(this.view)) !== null;
  }

  /** Whether a reversal is to be given up, and still may be. */
  get wantsForward(): boolean {
    if (this.forwardWish === null || this.view === null) return false;
    return forwardStart(positionOf(this.view)) !== null;
  }

  /** It is to end before it begins: nothing is to be undone. */
  get isCalledOff(): boolean {
    return this.abandonWish !== null || (!this.hasBegun && this.rollbackWish !== null);
  }

  /** The record, as its machine has just said: what was wished before that was known, too. */
  take(view: BindingView): void {
    this.view = view;
    if (this.isSoaking) this.completeWish ??= this.#earlyComplete;
    this.#earlyComplete = null;
  }

  /** It is decided: what was wished on the way back is over, and the soak begins anew. */
  turnForward(): void {
    this.forwardWish = null;
    this.rollbackWish = null;
    this.soakStartedMs = null;
    this.soakProbedMs = null;
    this.soakValidatedMs = null;
    this.soakFailures = 0;
    // An end of the soak that was wished for before.
    if (this.completeWish !== null && patched('completed-anew')) this.completeWish = null;
  }

  /**
   * An adopted migration goes on as its operators left it, with what a run before this one wished
   * and the machine remembers; what was wished of this run counts more.
   */
  takeWishes({ paused, bytesPerSecond }: ControlWish): void {
    if (!this.#wished.pause) this.paused = paused;
    if (!this.#wished.limit) this.bytesPerSecond = bytesPerSecond;
    this.#wished = { pause: true, limit: true };
  }

  /** Ends the soak; one that is wished before it is known whether it soaks is kept until then. */
  complete(wish: Wish): void {
    if (this.isSoaking) this.completeWish = wish;
    // This run follows another, and has not read yet where that one stood.
    else if (this.view === null) this.#earlyComplete = wish;
  }

  /** Finalize is about to be asked for; what is wished from now on comes too late. */
  enterFinalize(): void {
    if (this.view !== null) this.view = { ...this.view, phase: 'finalize' };
  }

  /** Notes that it was asked for; false when it has been before. */
  isNew(operation: Operation): boolean {
    return this.#operations.isNew(operation);
  }

  carried(): Carried {
    const { paused, bytesPerSecond, approved, approvedBy, approvedUntilMs, cancelled } = this;
    const { soakStartedMs, soakProbedMs, soakValidatedMs, soakFailures } = this;
    const { rollbackWish, completeWish, abandonWish, forwardWish } = this;
    const { coordinator, reports, leases } = this;
    return {
      coordinator,
      reports,
      leases,
      paused,
      bytesPerSecond,
      approved,
      approvedBy,
      approvedUntilMs,
      soakStartedMs,
      soakProbedMs,
      soakValidatedMs,
      soakFailures,
      rollbackWish,
      completeWish,
      abandonWish,
      forwardWish,
      cancelled,
      operationIds: this.#operations.ids,
    };
  }

  setPaused(paused: boolean): void {
    this.paused = paused;
    this.#wished.pause = true;
    this.controlVersion += 1;
    if (paused) return;
    this.retryVersion += 1;
    // A report that is made before the wait itself goes on must not tell of it any more.
    if (this.waiting === null || !endedByResume.includes(this.waiting.kind)) return;
    if (tellsLess()) this.waiting = null;
  }

  throttle(bytesPerSecond: number | null): void {
    this.bytesPerSecond = bytesPerSecond;
    this.#wished.limit = true;
    this.controlVersion += 1;
  }

  approve({ digest, generation }: ProofName, by: string, notAfterMs?: number): void {
    this.approved = { digest, generation };
    this.approvedBy = by;
    this.approvedUntilMs = notAfterMs ?? null;
    this.tooLate = null;
  }

  /** The window has ended that the cutover was approved for: it is to be approved anew. */
  forgetApproval(reason: string): void {
    this.tooLate = reason;
    this.approved = null;
    this.approvedBy = null;
    this.approvedUntilMs = null;
  }

  /** @param untilMs Unix time */
  letBegin(untilMs: number): void {
    this.#mayBeginUntilMs = untilMs;
  }

  get mayBegin(): boolean {
    return this.#mayBeginUntilMs !== null && Date.now() < this.#mayBeginUntilMs;
  }

  get canRollBack(): boolean {
    if (this.stage === 'preflight') return false;
    return this.view !== null && this.rollbackWish === null
      ? rollbackStart(positionOf(this.view)) !== null
      : false;
  }

  get isCoordinated(): boolean {
    return this.coordinator !== null && !this.coordinatorIsGone;
  }

  isPresent({ digest, generation }: ProofName): boolean {
    const present = this.view?.proof ?? null;
    return present?.digest === digest && present.generation === generation;
  }

  /** Also while both are compared in it. */
  get isSoaking(): boolean {
    return this.phase === 'soak' || this.phase === 'soak-validate';
  }

  get canGoForward(): boolean {
    if (this.view === null || this.forwardWish !== null) return false;
    return forwardStart(positionOf(this.view)) !== null;
  }
}

/**
 * The soak: the replica runs on the target and is probed now and then; so many probes in a row that
 * fail are a wish to roll back.
 */
import { workflowInfo } from '@temporalio/workflow';

import { contractVersion } from '../core/ids.ts';
import type { StepOutcome } from '../core/phases.ts';
import type { AgentCalls } from './agent-calls.ts';
import { describeFailure } from './failures.ts';
import type { MigrationState } from './migration-state.ts';
import type { Waits } from './waits.ts';
import { tellsLess } from './less-told.ts';

export class Soak {
  readonly #state: MigrationState;
  readonly #waits: Waits;
  readonly #calls: AgentCalls;

  constructor(state: MigrationState, waits: Waits, calls: AgentCalls) {
    this.#state = state;
    this.#waits = waits;
    this.#calls = calls;
  }

  /** True when it may be finalized; waits otherwise, at most until the next probe. */
  async pass(): Promise<boolean> {
    const state = this.#state;
    if (state.completeWish !== null) return true;
    const { soakSeconds, finalize } = state.request.input.policy;
    state.soakStartedMs ??= Date.now();
    const left = state.soakStartedMs + soakSeconds * 1000 - Date.now();
    const completed = () => state.completeWish !== null;
    const isOver = () => completed() || workflowInfo().continueAsNewSuggested;
    const dueMs = earliest(this.#untilProbeMs(), this.#untilValidationMs());
    let waited: Promise<void>;
    if (left > 0) {
      const reason = `the replica runs on the target for ${soakSeconds} s${this.#problem()}`;
      const remedy = 'wait, complete or roll back';
      const waitMs = dueMs === null ? left : Math.min(left, dueMs);
      waited = this.#waits.until({ kind: 'soak', reason, remedy }, isOver, waitMs);
    } else {
      if (finalize === 'auto' && state.soakFailures === 0) return true;
      const reason = `the soak has ended; the source is kept until finalize${this.#problem()}`;
      const remedy = 'complete or roll back';
      const wait = { kind: 'finalize', reason, remedy } as const;
      waited = this.#waits.until(wait, isOver, dueMs ?? undefined);
    }
    const shown = state.waiting;
    await waited;
    if ((this.#untilProbeMs() ?? 1) <= 0 && !completed()) {
      // Histories of before report each probe, as a wait that has ended and one that begins.
      if (tellsLess()) state.waiting = shown;
      await this.#probe();
      if (state.wantsRollback) state.waiting = null;
    }
    return false;
  }

  /** Also where a comparison was cut off: it is none of the steps that must be done. */
  get isStanding(): boolean {
    return this.#state.isSoaking;
  }

  /** The step that may be done now. */
  get next(): 'soak-validate' | 'finalize' {
    return this.wantsValidation ? 'soak-validate' : 'finalize';
  }

  /** Whether both are to be compared again now. */
  get wantsValidation(): boolean {
    const { completeWish, wantsRollback } = this.#state;
    return completeWish === null && !wantsRollback && (this.#untilValidationMs() ?? 1) <= 0;
  }

  /** One has ended, be it without an answer. */
  async validated(outcome: StepOutcome, reason: string): Promise<void> {
    const state = this.#state;
    state.soakValidatedMs = Date.now();
    state.soakProblem = outcome === 'done' ? null : `the way back: ${reason}`;
    if (outcome !== 'different') return;
    const remedy = 'roll back (into a fresh instance), or complete to stay on the target';
    await this.#waits.forOperator({ kind: 'failed', reason: state.soakProblem ?? reason, remedy });
  }

  #untilValidationMs(): number | null {
    const { request, soakStartedMs, soakValidatedMs, view } = this.#state;
    const every = request.input.policy.validateEverySeconds ?? null;
    if (every === null || view?.mode !== 'live') return null;
    return untilMs(every, soakValidatedMs ?? soakStartedMs);
  }

  #untilProbeMs(): number | null {
    const { request, soakStartedMs, soakProbedMs } = this.#state;
    // Absent in histories of before.
    const every = request.input.policy.probeEverySeconds ?? null;
    return every === null ? null : untilMs(every, soakProbedMs ?? soakStartedMs);
  }

  async #probe(): Promise<void> {
    const state = this.#state;
    const { agentId, view, request } = state;
    const { replica, migrationId, policy } = request.input;
    state.soakProbedMs = Date.now();
    if (agentId === null || view === null) return;
    const addressee = { contractVersion, agentId, replica };
    const { lease } = view;
    let failure: string | null;
    try {
      ({ failure } = await this.#calls.probe.checkSoak({ ...addressee, migrationId, lease }));
    } catch (error) {
      // The machine does not answer: that says nothing of how the replica serves.
      state.soakProblem = describeFailure(error).reason;
      return;
    }
    state.soakProblem = failure;
    state.soakFailures = failure === null ? 0 : state.soakFailures + 1;
    if (policy.probeFailures === null || state.soakFailures < policy.probeFailures) return;
    const reason = `the probe failed ${state.soakFailures} times in the soak: ${failure}`;
    state.rollbackWish ??= { by: 'quorumshift', reason };
  }

  #problem(): string {
    const { soakProblem } = this.#state;
    return soakProblem === null ? '' : `; but: ${soakProblem}`;
  }
}

function untilMs(everySeconds: number, sinceMs: number | null): number {
  return Math.max(0, (sinceMs ?? Date.now()) + everySeconds * 1000 - Date.now());
}

/** Null is never. */
function earliest(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}

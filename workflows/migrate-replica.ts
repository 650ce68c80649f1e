/**
 * Migrates one stopped replica. The binding record on the machine says what is to be done next;
 * this workflow asks for it, step by step, waits where operators or policy say so, and survives
 * anything: a new run adopts the record and goes on.
 */
import {
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  condition,
  continueAsNew,
  isCancellation,
  workflowInfo,
} from '@temporalio/workflow';

import type { PreflightAnswer, StepAnswer, StepRequest } from '../activities/contract.ts';
import { contractVersion, replicaText } from '../core/ids.ts';
import { isStepPhase, phases, rollbackStart, type StepPhase } from '../core/phases.ts';
import { agentCalls, type AgentCalls } from './agent-calls.ts';
import { describeFailure, isSuperseded, isUnreachable } from './failures.ts';
import type {
  MigrateReplicaRequest,
  MigrateReplicaResult,
  MigrationOutcome,
  Waiting,
} from './messages.ts';
import { MigrationState } from './migration-state.ts';

/** Between two tries to reach a machine that is away. */
const unreachableRetryMs = 10_000;

/** A look that finds a holder is repeated after a stop; then a human is asked. */
const looksBeforeAsking = 3;

export async function migrateReplica(
  request: MigrateReplicaRequest,
): Promise<MigrateReplicaResult> {
  const state = new MigrationState(request);
  state.registerHandlers();
  watchCancellation(state);
  // A cancelled workflow, too, ends with its result: how the replica was left.
  return CancellationScope.nonCancellable(async () => {
    const result = await new ReplicaMigration(state).run();
    await condition(allHandlersFinished);
    return result;
  });
}

/** Cancel is a wish: before the swap it means roll back, after it hold and ask. */
function watchCancellation(state: MigrationState): void {
  CancellationScope.current().cancelRequested.catch(() => {
    const { view } = state;
    const start = view?.phase ? rollbackStart(view.phase, view.direction) : null;
    if (start === 'discard') state.rollbackWish ??= { by: 'cancel', reason: 'workflow cancelled' };
    else if (view === null) state.abandonWish ??= { by: 'cancel', reason: 'workflow cancelled' };
    else state.cancelled = true;
  });
}

class ReplicaMigration {
  readonly #state: MigrationState;
  readonly #calls: AgentCalls;
  #step = 0;
  #claims = 0;
  #looks = 0;

  constructor(state: MigrationState) {
    this.#state = state;
    this.#calls = agentCalls(state.request.input.host);
  }

  async run(): Promise<MigrateReplicaResult> {
    const control = this.#controlLoop();
    try {
      const outcome = (await this.#takeReplica()) ?? (await this.#drive());
      return this.#end(outcome);
    } finally {
      this.#state.stage = 'ended';
      await control;
    }
  }

  #end(outcome: MigrationOutcome): MigrateReplicaResult {
    this.#state.outcome = outcome;
    this.#state.waiting = null;
    const { rollbackWish, abandonWish } = this.#state;
    return { outcome, reason: (abandonWish ?? rollbackWish)?.reason ?? this.#difference() };
  }

  /** Where the states differed, of a migration that rolled back for it. */
  #difference(): string | null {
    const found = this.#state.results.findLast(({ outcome }) => outcome === 'different');
    const reason = found?.info['reason'];
    return typeof reason === 'string' ? reason : null;
  }

  /**
   * Reach the agent, preflight unless the replica is ours already, own it. An outcome ends it here.
   */
  async #takeReplica(): Promise<MigrationOutcome | null> {
    const { state, input } = this.#context();
    const reached = await this.#untilReached(async () => {
      const answer = await this.#calls.ask.ping();
      const agentId = state.agentId ?? answer.agentId;
      state.agentId = agentId;
      return this.#calls.ask.readBinding({ contractVersion, agentId, replica: input.replica });
    });
    if (reached === 'abandoned') return 'abandoned';
    if (reached?.migrationId !== input.migrationId) await this.#preflight();
    return this.#own(reached?.lease ?? 0);
  }

  async #own(expectedLease: number): Promise<MigrationOutcome | null> {
    const { state, input } = this.#context();
    this.#claims += 1;
    const answer = await this.#calls.change.own({
      agentId: this.#agentId(),
      input,
      inputDigest: state.request.inputDigest,
      claim: `${workflowInfo().runId}/${this.#claims}`,
      expectedLease,
    });
    if (answer.kind === 'ended') return answer.result;
    state.view = answer.view;
    state.stage = 'running';
    this.#step = answer.view.step;
    return null;
  }

  async #preflight(): Promise<void> {
    const { state, input } = this.#context();
    const agentId = this.#agentId();
    const addressee = { contractVersion, agentId, replica: input.replica };
    const answer: PreflightAnswer = await this.#calls.change.preflight({ ...addressee, input });
    state.findings = answer.findings;
    const failed = answer.findings.filter((finding) => !finding.ok);
    if (failed.length === 0) return;
    const summary = failed.map((finding) => `${finding.check}: ${finding.measured}`).join('; ');
    throw ApplicationFailure.nonRetryable(
      `Cannot start migration of ${replicaText(input.replica)}: every preflight check must pass: ${summary}`,
      'preflight.failed',
      failed,
    );
  }

  /** Asks for steps until the record says that the migration has ended. */
  async #drive(): Promise<MigrationOutcome> {
    const { state } = this.#context();
    for (;;) {
      const phase = state.phase;
      if (phase === null || phase === 'ended') {
        return state.view?.rollingBack ? 'rolled-back' : 'finalized';
      }
      if (state.abandonWish !== null) return 'abandoned';
      const outcome = await this.#advance();
      if (outcome !== null) return outcome;
      await this.#continueWhenLong();
    }
  }

  /** One turn: a wait, a decision or a step. An outcome ends the run. */
  async #advance(): Promise<MigrationOutcome | null> {
    const { state } = this.#context();
    const wishBefore = state.retryVersion;
    if (!(await this.#passGates())) return null;
    const phase = state.phase === 'soak' ? 'finalize' : state.phase;
    if (phase === null || !isStepPhase(phase)) return null;
    try {
      const answer = this.#wantsRollback() ? await this.#decide() : await this.#runStep(phase);
      state.view = answer.view;
      state.results.push(answer.result);
      if (answer.result.outcome === 'held') await this.#afterHeld(answer);
      else if (phase === 'look' || phase === 'rollback-look') this.#looks = 0;
      return null;
    } catch (error) {
      return this.#afterFailure(error, wishBefore);
    }
  }

  #wantsRollback(): boolean {
    const { state } = this.#context();
    if (state.rollbackWish === null || state.view?.phase == null) return false;
    return rollbackStart(state.view.phase, state.view.direction) !== null;
  }

  /** True when the next step may run now; waits otherwise, and says why. */
  async #passGates(): Promise<boolean> {
    const { state, input } = this.#context();
    if (this.#wantsRollback()) return true;
    if (state.paused) {
      await this.#wait(
        { kind: 'paused', reason: 'an operator paused it', remedy: 'resume' },
        () => !state.paused,
      );
      return false;
    }
    const phase = state.phase;
    if (state.cancelled && (phase === 'soak' || phase === 'swap')) {
      const reason = 'the workflow was cancelled after the cutover: nothing was undone';
      await this.#waitForOperator({ kind: 'cancelled', reason, remedy: 'complete or roll back' });
      state.cancelled = false;
      return false;
    }
    const forward = state.view?.direction === 'forward';
    if (phase === 'swap' && forward && input.policy.approval === 'manual' && !this.#isApproved()) {
      const reason = `the cutover needs approval of proof ${state.view?.proof?.digest ?? ''}`;
      await this.#wait({ kind: 'approval', reason, remedy: 'approve' }, () => this.#isApproved());
      return false;
    }
    return phase === 'soak' ? this.#soak() : true;
  }

  #isApproved(): boolean {
    const { approved, view } = this.#context().state;
    return (
      approved !== null &&
      approved.digest === view?.proof?.digest &&
      approved.generation === view.proof.generation
    );
  }

  async #soak(): Promise<boolean> {
    const { state, input } = this.#context();
    if (state.completeWish !== null) return true;
    state.soakStartedMs ??= Date.now();
    const left = state.soakStartedMs + input.policy.soakSeconds * 1000 - Date.now();
    if (left > 0) {
      const reason = `the replica runs on the target for ${input.policy.soakSeconds} s`;
      const done = () => state.completeWish !== null;
      await this.#wait({ kind: 'soak', reason, remedy: 'wait, complete or roll back' }, done, left);
      return false;
    }
    if (input.policy.finalize === 'auto') return true;
    const reason = 'the soak has ended; the source is kept until finalize';
    const remedy = 'complete or roll back';
    await this.#wait({ kind: 'finalize', reason, remedy }, () => state.completeWish !== null);
    return false;
  }

  async #decide(): Promise<StepAnswer> {
    const { state } = this.#context();
    const wish = state.rollbackWish ?? { by: 'operator', reason: '' };
    return this.#calls.change.decideRollback({ ...this.#stepRequest(), ...wish });
  }

  /** Runs one step; a wish to roll back cancels bulk work that is under way. */
  async #runStep(phase: StepPhase): Promise<StepAnswer> {
    const { state } = this.#context();
    const request = this.#stepRequest();
    const scope = new CancellationScope({ cancellable: true });
    const running = scope.run(() => this.#calls.step(phase)(request));
    if (phases[phase].kind !== 'bulk') return running;
    let ended = false;
    const watch = condition(() => ended || this.#wantsRollback() || state.abandonWish !== null);
    void watch.then(() => scope.cancel());
    try {
      return await running;
    } finally {
      ended = true;
    }
  }

  #stepRequest(): StepRequest {
    const { state, input } = this.#context();
    this.#step += 1;
    return {
      contractVersion,
      agentId: this.#agentId(),
      replica: input.replica,
      migrationId: input.migrationId,
      lease: state.view?.lease ?? 0,
      step: this.#step,
      ...(state.approved && { approved: state.approved }),
    };
  }

  async #afterHeld(answer: StepAnswer): Promise<void> {
    this.#looks += 1;
    if (this.#looks < looksBeforeAsking) return;
    this.#looks = 0;
    const holders = String(answer.result.info['holders'] ?? '');
    const reason = `processes still hold files of the replica: ${holders}`;
    await this.#waitForOperator({ kind: 'held', reason, remedy: 'end them, then resume' });
  }

  /** Decides what a failed step means: adopt again, wait for the machine, or ask a human. */
  async #afterFailure(error: unknown, retryVersion: number): Promise<MigrationOutcome | null> {
    const { state } = this.#context();
    if (isCancellation(error)) return null;
    if (isSuperseded(error)) return this.#adoptAgain();
    if (isUnreachable(error)) {
      await this.#waitForHost();
      return null;
    }
    const failure = describeFailure(error);
    if (state.retryVersion !== retryVersion) return null;
    await this.#waitForOperator({ kind: 'failed', reason: failure.reason, remedy: failure.remedy });
    return null;
  }

  /** A newer lease owns the replica: end without compensating. The same lease: take a new one. */
  async #adoptAgain(): Promise<MigrationOutcome | null> {
    const { state, input } = this.#context();
    const view = await this.#untilReached(() =>
      this.#calls.ask.readBinding({
        contractVersion,
        agentId: this.#agentId(),
        replica: input.replica,
      }),
    );
    if (view === 'abandoned') return 'abandoned';
    if (view === null || view.lease > (state.view?.lease ?? 0)) return 'superseded';
    return this.#own(view.lease);
  }

  async #untilReached<T>(call: () => Promise<T>): Promise<T | 'abandoned'> {
    const { state } = this.#context();
    for (;;) {
      try {
        const answer = await call();
        state.waiting = null;
        return answer;
      } catch (error) {
        if (!isUnreachable(error)) throw error;
        await this.#waitForHost();
        if (state.abandonWish !== null) return 'abandoned';
      }
    }
  }

  async #waitForHost(): Promise<void> {
    const { input } = this.#context();
    const reason = `the agent of machine ${input.host} does not answer`;
    const remedy = 'start the agent there; abandon if the machine is lost';
    await this.#wait({ kind: 'host-unreachable', reason, remedy }, () => false, unreachableRetryMs);
  }

  async #waitForOperator(waiting: Omit<Waiting, 'sinceMs'>): Promise<void> {
    const { state } = this.#context();
    const before = state.retryVersion;
    const done = () =>
      state.retryVersion !== before ||
      (waiting.kind === 'cancelled' && state.completeWish !== null);
    await this.#wait(waiting, done);
  }

  /** Waits until `done`, a wish that ends any wait, or the time; the status says why meanwhile. */
  async #wait(
    waiting: Omit<Waiting, 'sinceMs'>,
    done: () => boolean,
    timeoutMs?: number,
  ): Promise<void> {
    const { state } = this.#context();
    const before = state.waiting;
    const same = before?.kind === waiting.kind && before.reason === waiting.reason;
    state.waiting = { ...waiting, sinceMs: same ? before.sinceMs : Date.now() };
    const wasPaused = state.paused;
    const wasCancelled = state.cancelled;
    const awake = () =>
      done() ||
      this.#wantsRollback() ||
      state.abandonWish !== null ||
      (state.cancelled && !wasCancelled) ||
      (state.paused && !wasPaused && waiting.kind !== 'host-unreachable');
    if (timeoutMs === undefined) await condition(awake);
    else await condition(awake, timeoutMs);
    if (waiting.kind !== 'host-unreachable') state.waiting = null;
  }

  /** Sends pause and throttle to the machine, where running bulk work reads them. */
  async #controlLoop(): Promise<void> {
    const { state, input } = this.#context();
    // The machine may still hold the wishes of a migration before this one.
    let sent = -1;
    for (;;) {
      await condition(
        () => state.stage === 'ended' || (state.view !== null && state.controlVersion !== sent),
      );
      if (state.stage === 'ended') return;
      const version = state.controlVersion;
      const { paused, bytesPerSecond } = state;
      const addressee = { contractVersion, agentId: this.#agentId(), replica: input.replica };
      try {
        await this.#calls.steer.setControl({ ...addressee, paused, bytesPerSecond });
        sent = version;
      } catch (error) {
        // The machine is away: the step that is under way will say so; the wish stays to be sent.
        if (!isUnreachable(error)) sent = version;
      }
    }
  }

  async #continueWhenLong(): Promise<void> {
    const { state } = this.#context();
    if (!workflowInfo().continueAsNewSuggested) return;
    await condition(allHandlersFinished);
    await continueAsNew<typeof migrateReplica>({ ...state.request, carried: state.carried() });
  }

  #agentId(): string {
    const { agentId } = this.#state;
    if (agentId === null) throw ApplicationFailure.nonRetryable('no agent has been reached');
    return agentId;
  }

  #context() {
    return { state: this.#state, input: this.#state.request.input };
  }
}

/**
 * Migrates one stopped replica. The binding record on the machine says what is to be done next;
 * this workflow asks for it, step by step, waits where operators or policy say so, and survives
 * anything: a new run adopts the record and goes on.
 */
import {
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  isCancellation,
  patched,
  workflowInfo,
} from '@temporalio/workflow';

import type {
  BindingView,
  PreflightAnswer,
  StepAnswer,
  StepRequest,
} from '../activities/contract.ts';
import { contractVersion, replicaText } from '../core/ids.ts';
import {
  isBeforeCutover,
  isHalfWay,
  isStepPhase,
  phases,
  type MigrationMode,
  type StepPhase,
} from '../core/phases.ts';
import { agentCalls, type AgentCalls } from './agent-calls.ts';
import {
  describeFailure,
  isHostAway,
  isSuperseded,
  isTooLate,
  isUnreachable,
  requirePassed,
} from './failures.ts';
import type { MigrateReplicaRequest, MigrateReplicaResult, MigrationOutcome } from './messages.ts';
import { MigrationOperations } from './migration-operations.ts';
import { MigrationState } from './migration-state.ts';
import { decidedBy, passGates, untilTurn } from './gates.ts';
import { GroupLeases } from './group-leases.ts';
import { reportToCoordinator } from './member-reports.ts';
import { sendControl } from './send-control.ts';
import { showMigration } from './shown-migration.ts';
import { Soak } from './soak.ts';
import { isOfReversal, positionOf } from './position.ts';
import { Waits } from './waits.ts';

/** A reversal's copy that differs is made again; each leaves a whole copy aside. Then likewise. */
const copiesBeforeAsking = 2;

/** Live: another proof or another mirror is made so often. */
const repeatsBeforeAsking = 5;

/** So far a machine's clock may be from the server's. */
const clockSlackMs = 10_000;

/** A look that finds a holder is repeated after a stop; then a human is asked. */
const looksBeforeAsking = 3;

export async function migrateReplica(
  request: MigrateReplicaRequest,
): Promise<MigrateReplicaResult> {
  const state = new MigrationState(request);
  new MigrationOperations(state).register();
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
    if (view !== null && isBeforeCutover(positionOf(view)))
      state.rollbackWish ??= { by: 'cancel', reason: 'workflow cancelled' };
    else if (view === null) state.abandonWish ??= { by: 'cancel', reason: 'workflow cancelled' };
    else state.cancelled = true;
  });
}

class ReplicaMigration {
  readonly #state: MigrationState;
  readonly #calls: AgentCalls;
  readonly #waits: Waits;
  readonly #soak: Soak;
  readonly #leases: GroupLeases;
  /** Histories from before hold none. */
  readonly #takesLeases = patched('group-lease');
  #step = 0;
  #claims = 0;
  #looks = 0;
  #copies = 0;
  #repeats = 0;

  constructor(state: MigrationState) {
    this.#state = state;
    this.#waits = new Waits(state);
    this.#calls = agentCalls(state.request.input.host);
    this.#soak = new Soak(state, this.#waits, this.#calls);
    this.#leases = new GroupLeases(state, this.#waits, this.#calls);
  }

  async run(): Promise<MigrateReplicaResult> {
    const control = sendControl(this.#state, this.#calls);
    const reports = reportToCoordinator(this.#state);
    const kept = Promise.all([this.#leases.keep(), this.#leases.giveBackEarlier()]);
    const shown = showMigration(this.#state);
    let result: MigrateReplicaResult | null = null;
    try {
      const outcome = (await this.#takeReplica()) ?? (await this.#drive());
      if (outcome !== 'handed-on') result = this.#end(outcome);
    } catch (error) {
      this.#state.failure = describeFailure(error).reason;
      throw error;
    } finally {
      this.#state.stage = 'ended';
      await Promise.all([control, reports, shown, kept]);
      await this.#leases.end();
    }
    return result ?? this.#handOn();
  }

  /** The last that a run does: what has been wished up to now is the next one's. */
  async #handOn(): Promise<never> {
    const { state } = this.#context();
    await condition(allHandlersFinished);
    return continueAsNew<typeof migrateReplica>({ ...state.request, carried: state.carried() });
  }

  #end(outcome: MigrationOutcome): MigrateReplicaResult {
    this.#state.outcome = outcome;
    this.#state.waiting = null;
    const { rollbackWish, abandonWish } = this.#state;
    const reason = (abandonWish ?? rollbackWish)?.reason ?? this.#difference();
    this.#state.endReason = reason;
    return { outcome, reason };
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
      state.agentId ??= answer.agentId;
      return this.#readBinding();
    });
    if (reached === 'abandoned') return 'abandoned';
    const isOurs = reached?.migrationId === input.migrationId;
    state.hasBegun = isOurs;
    let mode = reached?.mode ?? 'stopped';
    // Its record knows what it came to, and answers that.
    if (reached?.lastEnded === input.migrationId)
      return this.#untilReached(() => this.#ownNewest());
    if (!isOurs) {
      const checked = await this.#untilReached(() => this.#preflight());
      if (checked === 'abandoned') return 'abandoned';
      mode = checked.mode;
    }
    // Before the record names it: what waits for its turn is not half way.
    const isHeld = isOurs && !isHalfWay(reached.phase) ? true : await this.#hold(mode);
    if (isHeld && !isOurs) await untilTurn(state, this.#waits, mode);
    // Nothing has begun.
    if (!isHeld || state.isCalledOff) return state.abandonWish ? 'abandoned' : 'rolled-back';
    return this.#untilReached(() => this.#ownNewest());
  }

  /** The leases of what is at risk from now on; false when it is to be abandoned instead. */
  async #hold(mode: MigrationMode): Promise<boolean> {
    if (!this.#takesLeases) return true;
    const agentId = this.#agentId();
    const held = await this.#untilReached(() => this.#leases.acquire(agentId, mode));
    return held !== 'abandoned' && held;
  }

  /** Owns the replica on top of whatever lease it has by now: this workflow is the newest. */
  async #ownNewest(): Promise<MigrationOutcome | null> {
    for (;;) {
      const lease = (await this.#readBinding())?.lease ?? 0;
      try {
        return await this.#own(lease, this.#newClaim());
      } catch (error) {
        if (!isSuperseded(error)) throw error;
      }
    }
  }

  /** Names one taking of the replica: asked for again under it, the machine answers the same. */
  #newClaim(): string {
    this.#claims += 1;
    return `${workflowInfo().runId}/${this.#claims}`;
  }

  async #own(expectedLease: number, claim: string): Promise<MigrationOutcome | null> {
    const { state, input } = this.#context();
    const answer = await this.#calls.change.own({
      agentId: this.#agentId(),
      input,
      inputDigest: state.request.inputDigest,
      claim,
      expectedLease,
    });
    if (answer.kind === 'ended') return answer.result;
    state.take(answer.view);
    // Histories from before go on without what the machine remembers.
    if (answer.control && patched('wishes-of-the-machine')) state.takeWishes(answer.control);
    state.stage = 'running';
    state.hasBegun = true;
    this.#step = answer.view.step;
    return null;
  }

  async #preflight(): Promise<PreflightAnswer> {
    const { state, input } = this.#context();
    const agentId = this.#agentId();
    const addressee = { contractVersion, agentId, replica: input.replica };
    const answer: PreflightAnswer = await this.#calls.measure.preflight({ ...addressee, input });
    state.findings = answer.findings;
    requirePassed(replicaText(input.replica), answer.findings);
    return answer;
  }

  /** Asks for steps until the record says that the migration has ended, or its history is long. */
  async #drive(): Promise<MigrationOutcome | 'handed-on'> {
    const { state } = this.#context();
    for (;;) {
      const phase = state.phase;
      if (phase === null || phase === 'ended') {
        return state.view?.rollingBack ? 'rolled-back' : 'finalized';
      }
      if (state.abandonWish !== null) return 'abandoned';
      const outcome = await this.#advance();
      if (outcome !== null) return outcome;
      if (workflowInfo().continueAsNewSuggested) return 'handed-on';
    }
  }

  /** One turn: a wait, a decision or a step. An outcome ends the run. */
  async #advance(): Promise<MigrationOutcome | null> {
    const { state } = this.#context();
    const wishBefore = state.retryVersion;
    if (state.isSoaking && !state.wantsRollback) await this.#leases.release();
    if (!(await passGates(state, this.#waits, this.#soak))) return null;
    const phase = state.isSoaking ? this.#soak.next : state.phase;
    if (phase === null || !isStepPhase(phase)) return null;
    try {
      const isAtRisk = isHalfWay(state.phase) || state.wantsRollback;
      if (isAtRisk && !(await this.#hold(state.view?.mode ?? 'stopped'))) return null;
      const answer = (await this.#decide()) ?? (await this.#runStep(phase));
      state.view = answer.view;
      state.results.push(answer.result);
      const { did, outcome, next } = answer.result;
      if (did === 'soak-validate') {
        await this.#soak.validated(outcome, String(answer.result.info['reason'] ?? ''));
      } else if (outcome === 'held') await this.#afterHeld(answer);
      else if (outcome === 'different' && next === 'copy' && isOfReversal(did)) {
        await this.#afterBadCopy(answer);
      } else if (outcome === 'lost' || outcome === 'stale' || next === 'mirror') {
        await this.#afterRepeat(answer);
      } else if (phase === 'look' || phase === 'rollback-look') this.#looks = 0;
      return null;
    } catch (error) {
      return this.#afterFailure(error, wishBefore);
    }
  }

  /** Writes the turn that is wished for into the record; null when none is. */
  async #decide(): Promise<StepAnswer | null> {
    const { state } = this.#context();
    const { change } = this.#calls;
    if (state.wantsForward && state.forwardWish !== null) {
      const request = { ...this.#stepRequest(), ...state.forwardWish };
      const answer = await change.decideForward(request);
      state.turnForward();
      return answer;
    }
    if (!state.wantsRollback || state.rollbackWish === null) return null;
    return change.decideRollback({ ...this.#stepRequest(), ...state.rollbackWish });
  }

  /** Runs one step; a wish to turn round cancels bulk work that is under way. */
  async #runStep(phase: StepPhase): Promise<StepAnswer> {
    const { state } = this.#context();
    // From here on no rollback is accepted: the machine will refuse it, too.
    if (phase === 'finalize') state.enterFinalize();
    const request = { ...this.#stepRequest(), ...decidedBy(state, phase) };
    const scope = new CancellationScope({ cancellable: true });
    const running = scope.run(() => this.#calls.step(phase)(request));
    if (phases[phase].kind !== 'bulk') return running;
    let ended = false;
    const turns = () =>
      state.wantsRollback ||
      state.wantsForward ||
      state.abandonWish !== null ||
      (phase === 'soak-validate' && state.completeWish !== null);
    const watch = condition(() => ended || turns());
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
      ...(state.approvedUntilMs !== null && { notAfterMs: state.approvedUntilMs }),
    };
  }

  async #afterHeld(answer: StepAnswer): Promise<void> {
    this.#looks += 1;
    if (this.#looks < looksBeforeAsking) return;
    this.#looks = 0;
    const holders = String(answer.result.info['holders'] ?? '');
    const reason = `processes still hold files of the replica: ${holders}`;
    await this.#waits.forOperator({ kind: 'held', reason, remedy: 'end them, then resume' });
  }

  /** Live: a proof that covers too little, a mirror that failed or differed; another is made. */
  async #afterRepeat({ result }: StepAnswer): Promise<void> {
    this.#repeats += 1;
    if (this.#repeats < repeatsBeforeAsking) return;
    this.#repeats = 0;
    const reason = `it came to "${result.outcome}" ${repeatsBeforeAsking} times: ${String(result.info['reason'] ?? '')}`;
    const remedy =
      'look at the storage host and the disk of its mirror, then resume: it is tried again';
    await this.#waits.forOperator({ kind: 'failed', reason, remedy });
  }

  async #afterBadCopy(answer: StepAnswer): Promise<void> {
    this.#copies += 1;
    if (this.#copies < copiesBeforeAsking) return;
    this.#copies = 0;
    const found = String(answer.result.info['reason'] ?? '');
    const reason = `${copiesBeforeAsking} copies differed from what they were made of: ${found}`;
    const remedy = 'look at the machine and its disks, then resume: it is copied again';
    await this.#waits.forOperator({ kind: 'failed', reason, remedy });
  }

  /** Decides what a failed step means: adopt again, wait for the machine, or ask a human. */
  async #afterFailure(error: unknown, retryVersion: number): Promise<MigrationOutcome | null> {
    const { state } = this.#context();
    if (isCancellation(error)) return null;
    if (isSuperseded(error)) return this.#adoptAgain();
    if (isUnreachable(error)) {
      await this.#waits.forHost();
      return null;
    }
    if (isHostAway(error)) {
      await this.#waits.forHost('storage host');
      return null;
    }
    const failure = describeFailure(error);
    await this.#lookAgain();
    if (isTooLate(error)) {
      const isAhead = (state.approvedUntilMs ?? 0) - Date.now() > clockSlackMs;
      state.forgetApproval(isAhead ? 'the machine’s clock is ahead' : 'its window had ended');
      return null;
    }
    if (state.phase === 'soak-validate') {
      await this.#soak.validated('lost', failure.reason);
      return null;
    }
    if (state.retryVersion !== retryVersion) return null;
    await this.#waits.forOperator({
      kind: 'failed',
      reason: failure.reason,
      remedy: failure.remedy,
    });
    return null;
  }

  /** A newer lease owns the replica: end without compensating. The same lease: take a new one. */
  async #adoptAgain(): Promise<MigrationOutcome | null> {
    const { state } = this.#context();
    const view = await this.#untilReached(() => this.#readBinding());
    if (view === 'abandoned') return 'abandoned';
    if (view === null || view.lease > (state.view?.lease ?? 0)) return 'superseded';
    const claim = this.#newClaim();
    return this.#untilReached(async () => {
      try {
        return await this.#own(view.lease, claim);
      } catch (error) {
        if (isSuperseded(error)) return 'superseded';
        throw error;
      }
    });
  }

  /** After a failure: the record as it is now decides what may be done. */
  async #lookAgain(): Promise<void> {
    const { state, input } = this.#context();
    const view = await this.#readBinding().catch(() => null);
    if (view?.migrationId === input.migrationId && view.lease === state.view?.lease) {
      state.view = view;
    }
  }

  async #readBinding(): Promise<BindingView | null> {
    const { replica } = this.#context().input;
    return this.#calls.ask.readBinding({ contractVersion, agentId: this.#agentId(), replica });
  }

  async #untilReached<T>(call: () => Promise<T>): Promise<T | 'abandoned'> {
    const { state } = this.#context();
    for (;;) {
      try {
        const answer = await call();
        state.waiting = null;
        return answer;
      } catch (error) {
        if (isHostAway(error)) await this.#waits.forHost('storage host');
        else if (isUnreachable(error)) await this.#waits.forHost();
        else throw error;
        if (state.abandonWish !== null) return 'abandoned';
      }
    }
  }

  #agentId(): string {
    return this.#state.knownAgent;
  }

  #context() {
    return { state: this.#state, input: this.#state.request.input };
  }
}

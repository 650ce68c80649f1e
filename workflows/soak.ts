/**
 * The soak: the replica runs on the target and is probed now and then; so many probes in a row that
 * fail are a wish to roll back.
 */
import { contractVersion } from '../core/ids.ts';
import type { AgentCalls } from './agent-calls.ts';
import { describeFailure } from './failures.ts';
import type { MigrationState } from './migration-state.ts';
import type { Waits } from './waits.ts';

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
    const dueMs = this.#untilProbeMs();
    if (left > 0) {
      const reason = `the replica runs on the target for ${soakSeconds} s${this.#problem()}`;
      const remedy = 'wait, complete or roll back';
      const waitMs = dueMs === null ? left : Math.min(left, dueMs);
      await this.#waits.until({ kind: 'soak', reason, remedy }, completed, waitMs);
    } else {
      if (finalize === 'auto' && state.soakFailures === 0) return true;
      const reason = `the soak has ended; the source is kept until finalize${this.#problem()}`;
      const remedy = 'complete or roll back';
      await this.#waits.until({ kind: 'finalize', reason, remedy }, completed, dueMs ?? undefined);
    }
    if ((this.#untilProbeMs() ?? 1) <= 0 && !completed()) await this.#probe();
    return false;
  }

  #untilProbeMs(): number | null {
    const { request, soakStartedMs, soakProbedMs } = this.#state;
    // Absent in histories of before.
    const every = request.input.policy.probeEverySeconds ?? null;
    const since = soakProbedMs ?? soakStartedMs ?? Date.now();
    return every === null ? null : Math.max(0, since + every * 1000 - Date.now());
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
    return soakProblem === null ? '' : `; its last probe: ${soakProblem}`;
  }
}

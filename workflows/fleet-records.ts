/** What a fleet's rollout writes down: decisions to the audit trail, notices, results. */
import { condition, sleep, uuid4 } from '@temporalio/workflow';

import { fleetWorkflowId } from '../core/ids.ts';
import { describeFailure } from './failures.ts';
import type { Decision, FleetState } from './fleet-state.ts';
import { storeCalls } from './store-calls.ts';

/** The store is said to be away after this. */
const storePatienceMs = 10_000;

/** What the store refused is asked for again after this: somebody may have mended it. */
const refusedMs = 30_000;

export class FleetRecords {
  readonly store = storeCalls();
  readonly #state: FleetState;

  constructor(state: FleetState) {
    this.#state = state;
  }

  /** Writes decisions in their order; each takes effect once it is durable. */
  async audit(ended: () => boolean): Promise<void> {
    const { decisions } = this.#state;
    for (;;) {
      await condition(() => ended() || decisions.length > 0);
      const [decision] = decisions;
      if (decision === undefined) return;
      await this.#write(decision);
      decision.effect?.();
      decisions.shift();
    }
  }

  async tell(ended: () => boolean): Promise<void> {
    const { notices, request } = this.#state;
    for (;;) {
      await condition(() => ended() || notices.length > 0);
      const [notice] = notices;
      if (notice === undefined) return;
      const subject = fleetWorkflowId(request.fleet);
      await this.insist(() => this.store.notify({ ...notice, subject }));
      notices.shift();
    }
  }

  /** Waits for an answer; the status says so when none comes. */
  async answer<Answer>(call: Promise<Answer>): Promise<Answer> {
    const state = this.#state;
    let answered = false;
    const answer = call.finally(() => (answered = true));
    if (!(await condition(() => answered, storePatienceMs))) {
      state.storeProblem = 'it does not answer';
    }
    try {
      return await answer;
    } finally {
      state.storeProblem = null;
    }
  }

  /** Until it is done: what is to be written down must not be lost, nor end the rollout. */
  async insist<Answer>(call: () => Promise<Answer>): Promise<Answer> {
    const state = this.#state;
    for (;;) {
      try {
        const answer = await call();
        state.storeProblem = null;
        return answer;
      } catch (error) {
        state.storeProblem = describeFailure(error).reason;
        state.version += 1;
        await sleep(refusedMs);
      }
    }
  }

  async #write({ by, action, reason }: Decision): Promise<void> {
    const { fleet, snapshot } = this.#state.request;
    const subject = fleetWorkflowId(fleet);
    const entry = { id: uuid4(), by, action, subject, reason, digests: [snapshot] };
    await this.insist(() => this.store.audit(entry));
  }
}

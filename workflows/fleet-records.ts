/** What a fleet's rollout writes down: decisions to the audit trail, notices, results. */
import { condition } from '@temporalio/workflow';

import { fleetWorkflowId } from '../core/ids.ts';
import type { Decision, FleetState } from './fleet-state.ts';
import { storeCalls } from './store-calls.ts';

/** The store is said to be away after this. */
const storePatienceMs = 10_000;

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
      await this.store.notify({ ...notice, subject: fleetWorkflowId(request.fleet) });
      notices.shift();
    }
  }

  /** Waits for an answer; the status says so when none comes. */
  async answer<Answer>(call: Promise<Answer>): Promise<Answer> {
    const state = this.#state;
    let answered = false;
    const answer = call.finally(() => (answered = true));
    if (!(await condition(() => answered, storePatienceMs))) state.storeAway = true;
    try {
      return await answer;
    } finally {
      state.storeAway = false;
    }
  }

  async #write({ id, by, action, reason }: Decision): Promise<void> {
    const { fleet, snapshot } = this.#state.request;
    const subject = fleetWorkflowId(fleet);
    const entry = { id: `${subject}/${id}`, by, action, subject, reason, digests: [snapshot] };
    await this.store.audit(entry);
  }
}

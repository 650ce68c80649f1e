/**
 * What a rollout writes down in the control plane's store: its decisions go into the audit trail in
 * their order, and each takes effect once it is durable (I18).
 */
import { condition, sleep } from '@temporalio/workflow';

import type { AuditEntry } from '../activities/contract.ts';
import { describeFailure } from './failures.ts';
import type { RolloutWaiting } from './rollout-messages.ts';
import { storeCalls } from './store-calls.ts';

/** The store is said to be away after this. */
const storePatienceMs = 10_000;

/** One line is written in some milliseconds: an attempt that takes longer has lost its process. */
const lineMs = 10_000;

/** What the store refused is asked for again after this: somebody may have mended it. */
const refusedMs = 30_000;

/** A decision on its way into the audit trail, and what it leads to then. */
export interface Decision {
  readonly entry: AuditEntry;
  /** Null where it had its effect at once. */
  readonly effect: (() => void) | null;
}

/** Why what is to be written down, or read, is not yet. */
export interface StoreProblem {
  readonly reason: string;
  readonly sinceMs: number;
}

/** Of a rollout's state: what is to be written, and how that gets on. */
export interface Recorded {
  /** Oldest first; those that are not durable yet. */
  readonly decisions: Decision[];
  /** Null: nothing waits for the store. */
  storeProblem: StoreProblem | null;
  version: number;
}

export class StoreRecords<State extends Recorded> {
  readonly store = storeCalls();
  readonly #lines = storeCalls(lineMs);
  protected readonly state: State;
  readonly #tellsOfLines: boolean;

  /** @param tellsOfLines the status says so when a line is not taken; histories of before do not */
  constructor(state: State, tellsOfLines: boolean) {
    this.state = state;
    this.#tellsOfLines = tellsOfLines;
  }

  /** Writes decisions in their order; each takes effect once it is durable. */
  async audit(ended: () => boolean): Promise<void> {
    const { decisions } = this.state;
    for (;;) {
      await condition(() => ended() || decisions.length > 0);
      const [decision] = decisions;
      if (decision === undefined) return;
      await this.#write(decision);
      decision.effect?.();
      decisions.shift();
    }
  }

  async #write({ entry }: Decision): Promise<void> {
    await this.insist(() => {
      const call = this.#lines.audit(entry);
      return this.#tellsOfLines ? this.answer(call) : call;
    });
  }

  /** Waits for an answer; the status says so when none comes. */
  async answer<Answer>(call: Promise<Answer>): Promise<Answer> {
    const askedMs = Date.now();
    let answered = false;
    const answer = call.finally(() => (answered = true));
    if (!(await condition(() => answered, storePatienceMs))) {
      this.#wants('it does not answer', askedMs);
    }
    try {
      return await answer;
    } finally {
      this.state.storeProblem = null;
    }
  }

  /** Until it is done: what is to be written down must not be lost, nor end the rollout. */
  async insist<Answer>(call: () => Promise<Answer>): Promise<Answer> {
    const askedMs = Date.now();
    for (;;) {
      try {
        const answer = await call();
        this.state.storeProblem = null;
        return answer;
      } catch (error) {
        this.#wants(describeFailure(error).reason, askedMs);
        await sleep(refusedMs);
      }
    }
  }

  #wants(reason: string, sinceMs: number): void {
    this.state.storeProblem = { reason, sinceMs };
    this.state.version += 1;
  }
}

/** How a status shows it. */
export function storeWaiting(reason: string): Omit<RolloutWaiting, 'sinceMs'> {
  return {
    kind: 'host-unreachable',
    reason: `the control plane’s store is waited for: ${reason}`,
    remedy: 'start "quorumshift control --config"',
  };
}

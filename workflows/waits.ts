/** How a migration waits: what ends each wait, and what the status says meanwhile. */
import { condition } from '@temporalio/workflow';

import type { Waiting } from './messages.ts';
import type { MigrationState } from './migration-state.ts';

/** Between two tries to reach a machine that is away. */
const unreachableRetryMs = 10_000;

export type WaitReason = Omit<Waiting, 'sinceMs'>;

export class Waits {
  readonly #state: MigrationState;

  constructor(state: MigrationState) {
    this.#state = state;
  }

  /** Until an operator resumes, or (after a cancel) completes. */
  async forOperator(waiting: WaitReason): Promise<void> {
    const state = this.#state;
    const before = state.retryVersion;
    await this.until(
      waiting,
      () =>
        state.retryVersion !== before ||
        (waiting.kind === 'cancelled' && state.completeWish !== null),
    );
  }

  /** Until it is time to try the machine again. */
  async forHost(away: 'agent' | 'storage host' = 'agent'): Promise<void> {
    const { host } = this.#state.request.input;
    const reason = `the ${away} of machine ${host} does not answer`;
    const remedy = `start the ${away} there; abandon if the machine is lost`;
    await this.until({ kind: 'host-unreachable', reason, remedy }, () => false, unreachableRetryMs);
  }

  /**
   * Until `done`, a wish that is new since the wait began, or the time. A wish that was there
   * before has had its try: it must not end the wait for what made that try fail.
   */
  async until(waiting: WaitReason, done: () => boolean, timeoutMs?: number): Promise<void> {
    const state = this.#state;
    const shown = state.waiting;
    const same = shown?.kind === waiting.kind && shown.reason === waiting.reason;
    state.waiting = { ...waiting, sinceMs: same ? shown.sinceMs : Date.now() };
    const before = wishesOf(state);
    const awake = () => {
      const now = wishesOf(state);
      return (
        done() ||
        (now.rollback && !before.rollback) ||
        (now.forward && !before.forward) ||
        (now.abandon && !before.abandon) ||
        (now.complete && !before.complete) ||
        (now.cancelled && !before.cancelled) ||
        (now.paused && !before.paused && waiting.kind !== 'host-unreachable')
      );
    };
    if (timeoutMs === undefined) await condition(awake);
    else await condition(awake, timeoutMs);
    // A machine that is away stays the reason until it has answered.
    if (waiting.kind !== 'host-unreachable') state.waiting = null;
  }
}

function wishesOf(state: MigrationState) {
  const { wantsRollback, wantsForward, abandonWish, completeWish, cancelled, paused } = state;
  return {
    rollback: wantsRollback,
    forward: wantsForward,
    abandon: abandonWish !== null,
    complete: completeWish !== null,
    cancelled,
    paused,
  };
}

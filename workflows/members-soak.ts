/** What follows when all that were to move have: they soak, then are finalized. */
import { patched } from '@temporalio/workflow';

import { idle, silenceMs, type RolloutParts } from './rollout-parts.ts';

export class MembersSoak {
  readonly #parts: RolloutParts;

  constructor(parts: RolloutParts) {
    this.#parts = parts;
  }

  /** All that were to move have: they soak, then are finalized. */
  async soak(): Promise<void> {
    const { state, trail } = this.#parts;
    const soaking = state.of('soaking');
    const left = soaking.filter(({ report }) => report?.waiting?.kind !== 'finalize');
    const unwell = soaking.filter(({ report }) => report?.soakProblem != null);
    state.stage = 'soaking';
    if (left.length > 0) {
      const names = left.map(({ spec }) => spec.member).join(', ');
      return idle(this.#parts, {
        kind: 'soak',
        reason: `${names} soak`,
        remedy: 'wait, complete or roll back',
      });
    }
    const { finalize } = state.rollout.policy;
    const byFleet = finalize === 'per-wave' && state.coordinator !== null;
    if (finalize !== 'manual' && !byFleet && unwell.length === 0) {
      if (await trail.mayFinalize(soaking)) state.completeWish = true;
      return;
    }
    const but = unwell.map(
      ({ spec, report }) => `; but ${spec.member}: ${report?.soakProblem ?? ''}`,
    );
    const reason = `all have soaked; the sources are kept until finalize${but.join('')}`;
    await idle(this.#parts, { kind: 'finalize', reason, remedy: 'complete or roll back' });
  }

  /** Ends the soak of all that soak now. */
  async complete(): Promise<void> {
    const { state, calls, waits } = this.#parts;
    const soaking = state.of('soaking');
    state.completeWish = false;
    state.stage = 'finalizing';
    for (const member of soaking) {
      const by = state.completedBy ?? state.rollout.requestedBy;
      await calls.order(member, { order: 'complete', by });
    }
    while (soaking.some(({ stage }) => stage === 'soaking') && !state.hasWish) {
      const names = soaking
        .filter(({ stage }) => stage === 'soaking')
        .map(({ spec }) => spec.member);
      const reason = `${names.join(', ')}: the sources are being retired`;
      const heard = await waits.forNews({ kind: 'member', reason, remedy: 'wait' }, silenceMs);
      const isLost = soaking.some((member) => member.isLost);
      if ((!heard || isLost) && patched('complete-again')) {
        // Adopted where its workflow is gone, then told again.
        state.completeWish = true;
        return;
      }
      // Nothing heard: a history of before, which asks instead of telling again.
      if (!heard) await calls.attachOpen();
      else if (!calls.isPassedOn && patched('passed-on-meanwhile')) await calls.passOn();
    }
  }
}

/** The ways back of a rollout's members, and what becomes of one that failed. */
import { patched } from '@temporalio/workflow';

import type { GroupGuard } from './group-guard.ts';
import { idle, memberWait, tellAgainMs, type RolloutParts } from './rollout-parts.ts';
import { beginAnew, isGoingBack, isOpen, type TrackedMember } from './tracked-members.ts';

export class MembersBack {
  readonly #parts: RolloutParts;
  readonly #guard: GroupGuard;

  constructor(parts: RolloutParts, guard: GroupGuard) {
    this.#parts = parts;
    this.#guard = guard;
  }

  /** Rolls back the first of those that are to, or waits until it has been. */
  async takeBack(): Promise<void> {
    const { state, calls, waits } = this.#parts;
    state.stage = 'rolling-back';
    const member = state.named(state.takeBack[0] ?? '');
    const reason = state.takeBackWish?.reason ?? 'rolled back';
    if (member === undefined || !['moving', 'soaking', 'failed'].includes(member.stage)) {
      state.takeBack = state.takeBack.slice(1);
      return;
    }
    const { report } = member;
    const { migrationId } = member;
    if (migrationId === null || (report !== null && !isOpen(member) && report.phase === null)) {
      Object.assign(member, { stage: 'rolled-back', reason });
      return;
    }
    if (report?.outcome === 'rolled-back') {
      member.stage = 'rolled-back';
      return;
    }
    // Whoever is out already comes back at once; one that serves is taken out of a sound group.
    const serves = member.stage === 'soaking';
    const [other] = state.of('moving').filter((one) => one !== member);
    if (serves && other !== undefined) {
      return this.giveUp(other, 'again', 'another member goes back');
    }
    const isNew = member.takenBack !== 'out';
    if (isNew) {
      if (serves && !(await this.#guard.mayGoBack(member))) return;
      member.takenBack = 'out';
      member.reason = reason;
    }
    // A run that was about to end as it was asked is started the next time.
    if (!isOpen(member) && (isNew || patched('asked-until-it-says'))) {
      await calls.attach(member);
    }
    await this.#tellBack(member, { by: state.takeBackWish?.by ?? 'quorumshift', reason });
    if (member.stage === 'failed') await this.#untilResumed(member);
    else await waits.forNews(memberWait(member, 'goes back'), tellAgainMs);
  }

  /** Not cut over, it goes back: to be begun again, or not. */
  async giveUp(member: TrackedMember, how: 'again' | 'skip', reason: string): Promise<void> {
    const { waits } = this.#parts;
    if (member.takenBack === null) {
      member.takenBack = how;
      member.reason = how === 'skip' ? reason : null;
    }
    await this.#tellBack(member, { by: 'quorumshift', reason });
    await waits.forNews(memberWait(member, `goes back: ${reason}`), tellAgainMs);
  }

  /** Told again after a while: an order that is not legal yet is ignored. */
  async #tellBack(member: TrackedMember, wish: { by: string; reason: string }): Promise<void> {
    const { calls, trail } = this.#parts;
    const sinceTold = Date.now() - (member.toldBackMs ?? 0);
    if (sinceTold < tellAgainMs || isGoingBack(member)) return;
    trail.takesBack(member, wish);
    member.toldBackMs = Date.now();
    await calls.order(member, { order: 'resume', by: wish.by });
    await calls.order(member, { order: 'rollback', ...wish });
  }

  /** A way back that does not succeed by itself. */
  async #untilResumed(member: TrackedMember): Promise<void> {
    const { state, calls, waits } = this.#parts;
    const before = state.retryVersion;
    const reason = `${member.spec.member} does not go back: ${member.reason ?? ''}`;
    await waits.forNews({ kind: 'failed', reason, remedy: 'mend it, then resume' });
    if (state.retryVersion === before) return;
    await calls.order(member, { order: 'resume', by: state.takeBackWish?.by ?? '' });
  }

  /** What an operator wants tried again; true when something was. */
  retry(): boolean {
    const { state } = this.#parts;
    const ready = state.undecided.filter((member) => member.wantsRetry && !isGoingBack(member));
    for (const member of ready) {
      member.wantsRetry = false;
      if (isOpen(member)) member.stage = 'moving';
      else beginAnew(member);
    }
    return ready.length > 0;
  }

  /** Members failed, or were rolled back: nothing else begins before an operator has chosen. */
  async stop(): Promise<void> {
    const { state, calls, trail } = this.#parts;
    const { onFailure } = state.rollout.policy;
    state.stage = 'failed';
    for (const member of state.of('failed').filter(({ isHandled }) => !isHandled)) {
      member.isHandled = true;
      trail.stops(member);
      const reason = `${member.spec.member} failed: ${member.reason ?? ''}`;
      const by = 'quorumshift';
      if (onFailure === 'rollback-cluster') state.wishBack(null, { by, reason });
      else if (onFailure === 'rollback-replica' && isOpen(member) && !isGoingBack(member)) {
        trail.takesBack(member, { by, reason });
        await calls.order(member, { order: 'rollback', by, reason });
      }
    }
    if (state.takeBack.length > 0) return;
    // A member that goes back by itself needs the lease that one under way holds.
    const [moving] = state.of('moving');
    if (moving !== undefined && state.undecided.some(isGoingBack)) {
      return this.giveUp(moving, 'again', 'another member goes back');
    }
    const reason = state.undecided
      .map((member) => `${member.spec.member}: ${member.reason ?? member.stage}`)
      .join('; ');
    const remedy = 'resume to try again, skip it, roll back, or abandon';
    await idle(this.#parts, { kind: 'stopped', reason, remedy });
  }
}

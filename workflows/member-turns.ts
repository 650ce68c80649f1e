/**
 * The turns of a rollout: which member begins, which may cut over. Each looks at the group first,
 * does one thing, or waits for the next report.
 */
import { patched } from '@temporalio/workflow';

import type { GroupGuard } from './group-guard.ts';
import type { MembersBack } from './members-back.ts';
import { memberWait, silenceMs, tellAgainMs, type RolloutParts } from './rollout-parts.ts';
import type { TrackedMember } from './tracked-members.ts';

/** A member that is not being stopped by then asks for its turn again: its group is looked at. */
const turnMs = 60_000;

export class MemberTurns {
  readonly #parts: RolloutParts;
  readonly #guard: GroupGuard;
  readonly #back: MembersBack;

  constructor(parts: RolloutParts, guard: GroupGuard, back: MembersBack) {
    this.#parts = parts;
    this.#guard = guard;
    this.#back = back;
  }

  /** The next member begins, or what keeps it is waited for. */
  async begin(): Promise<void> {
    const { state, calls, waits, trail } = this.#parts;
    state.stage = 'moving';
    if (this.#isTooLate()) return this.#leaveOut('its deadline has passed');
    if ((await waits.passWindow()) === null) return;
    const look = await calls.look();
    const next = this.#guard.judge(look);
    // A program that is replaced has no cutover: with its stop it is out.
    if (next?.step === 'binary' && !state.isApproved) return this.#untilApproved();
    if (next === undefined || !(await this.#guard.isSafe(next, { look }))) return;
    if (!(await trail.mayBegin(next))) return;
    // While the group was looked at something else may have been wished.
    if (next.stage !== 'pending' || state.paused || state.hasWish) return;
    // Histories of before forget later what was said while it was attached.
    if (patched('asked-until-it-says')) state.foreign = null;
    await calls.attach(next);
    await this.#untilHeardFrom(next);
  }

  /** Until it reports, or another's migration turns out to hold the member. */
  async #untilHeardFrom(member: TrackedMember): Promise<void> {
    const { state, calls, waits } = this.#parts;
    const { member: name } = member.spec;
    if (!patched('asked-until-it-says')) state.foreign = null;
    const { cluster } = state.rollout;
    const isLeftOut = () => member.stage === 'skipped';
    for (let heard = true; heard && !isHeard(member) && !state.hasWish && !isLeftOut();) {
      await calls.passOn();
      if (isHeard(member)) break;
      if (member.isLost && patched('lost-unheard')) {
        member.isLost = false;
        await calls.attach(member);
        continue;
      }
      const foreign = state.foreignTo(name);
      if (foreign !== null) {
        const is = foreign.phase === null ? 'has not begun' : `is in phase ${foreign.phase}`;
        const reason = `migration ${foreign.migrationId} of ${name} runs already, and ${is}`;
        const remedy = `complete it, or roll it back: quorumshift status ${cluster}/${name}`;
        await waits.toLookAgain({ kind: 'member', reason, remedy });
        await calls.attach(member);
      } else {
        heard = await waits.forNews(memberWait(member, 'has been asked for'), silenceMs);
      }
    }
    if (isHeard(member)) {
      if (member.stage === 'pending') member.stage = 'moving';
      return;
    }
    // It has been started: the wish that came meanwhile is one for it, too, or must make it stand
    // back. Histories of before take it for one that is still to begin.
    if (state.hasWish && state.foreignTo(name) === null) {
      if (member.stage === 'pending' && patched('begun-is-moving')) member.stage = 'moving';
      return;
    }
    member.migrationId = null;
    if (member.stage !== 'pending') member.stage = 'skipped';
  }

  /** It is under way: its cutover is granted, once that is safe. */
  async accompany(member: TrackedMember): Promise<void> {
    const { state, calls, waits, trail } = this.#parts;
    state.stage = 'moving';
    if (this.#isTooLate())
      return this.#back.giveUp(member, 'skip', 'the rollout’s deadline has passed');
    const staysMs = await this.#untilWindowEnds(member);
    if (staysMs === null) return;
    const { report } = member;
    if (report?.waiting?.kind !== 'approval') return this.#watch(member, staysMs);
    // Without a proof: one that is to be stopped, and has all that it needs for it.
    const { digest, generation } = report.proof ?? { digest: 'begin', generation: 0 };
    const sinceGrant = Date.now() - (member.granted?.atMs ?? 0);
    if (member.granted?.digest === digest && sinceGrant < tellAgainMs) {
      await waits.forNews(
        memberWait(member, 'has been told to go on'),
        Math.min(tellAgainMs - sinceGrant, staysMs),
      );
      return;
    }
    if (state.paused) {
      const reason = 'an operator paused it';
      await waits.forNews({ kind: 'paused', reason, remedy: 'resume' }, staysMs);
      return;
    }
    if (!state.isApproved && (report.proof !== null || member.step === 'binary')) {
      return this.#untilApproved(staysMs);
    }
    const endsMs = await waits.passWindow();
    if (endsMs === null) return;
    if (!(await this.#guard.isSafe(member, { look: await calls.look() }))) return;
    if (!(await trail.mayCutOver(member, report.proof, endsMs))) return;
    if (state.paused || state.hasWish || this.#isTooLate()) return;
    member.granted = { digest, atMs: Date.now() };
    const by = state.approvedBy ?? state.rollout.requestedBy;
    const granted = { by, ...(endsMs < Infinity && { notAfterMs: endsMs }) };
    if (report.proof === null) {
      const notAfterMs = Math.min(endsMs, Date.now() + turnMs);
      await calls.order(member, { order: 'begin', by, notAfterMs });
      return;
    }
    const proof = { digest, generation };
    await calls.order(member, { order: 'approveCutover', ...granted, proof });
  }

  async #untilApproved(timeoutMs?: number): Promise<void> {
    const { state, waits } = this.#parts;
    const { rollout, coordinator } = state;
    const byWave = rollout.policy.approval === 'per-wave' && coordinator !== null;
    const kind = byWave ? 'wave-approval' : 'approval';
    const reason = 'the first cutover waits for approval';
    const remedy = byWave ? 'approve the wave' : 'approve';
    await waits.forNews({ kind, reason, remedy }, timeoutMs);
  }

  /** Until it says something. */
  async #watch(member: TrackedMember, staysMs: number): Promise<void> {
    const { calls, waits } = this.#parts;
    const { waiting } = member.report ?? {};
    const says = waiting ? `waits (${waiting.kind}): ${waiting.reason}` : 'is being moved';
    const timeoutMs = Math.min(this.#untilDeadlineMs(), staysMs, silenceMs);
    const heard = await waits.forNews(memberWait(member, says), timeoutMs);
    if (!heard && timeoutMs === silenceMs) await calls.attachOpen();
  }

  /**
   * Under `detach` a window that has ended takes the mirror, whatever its member waits for: null,
   * and it goes back. So many milliseconds it may stay otherwise, before it is looked at again.
   */
  async #untilWindowEnds(member: TrackedMember): Promise<number | null> {
    const { state, waits } = this.#parts;
    if (state.rollout.policy.atWindowEnd === 'hold') return Infinity;
    const window = await waits.window();
    if (window.is === 'open') return window.againMs;
    // A store that is away says nothing of a window's end.
    if (window.is === 'unknown') await waits.forNews(window.waiting, window.againMs);
    else await this.#back.giveUp(member, 'again', 'its maintenance window has ended');
    return null;
  }

  #leaveOut(reason: string): void {
    const { state, trail } = this.#parts;
    const pending = state.of('pending');
    trail.leavesOut(pending, reason);
    for (const member of pending) Object.assign(member, { stage: 'skipped', reason });
  }

  #untilDeadlineMs(): number {
    const { state } = this.#parts;
    return Math.max(0, state.deadlineMs - Date.now());
  }

  #isTooLate(): boolean {
    return this.#untilDeadlineMs() <= 0;
  }
}

function isHeard(member: TrackedMember): boolean {
  return member.report !== null;
}

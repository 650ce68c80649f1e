/**
 * The turns of a rollout: which member begins, which may cut over, which goes back. Each looks at
 * the group first, does one thing, or waits for the next report.
 */
import { patched } from '@temporalio/workflow';

import {
  orderOf,
  refusalsOf,
  successorOf,
  type Candidate,
  type GroupLook,
} from '../core/quorum.ts';
import type { ClusterCalls } from './cluster-calls.ts';
import type { ClusterState } from './cluster-state.ts';
import type { ClusterTrail } from './cluster-trail.ts';
import type { ClusterWaitReason, ClusterWaits } from './cluster-waits.ts';
import { beginAnew, isMoved, isOpen, type TrackedMember } from './tracked-members.ts';

/** Members that say nothing are asked after this, whether their workflows still run. */
const silenceMs = 10 * 60_000;

/** Of one that soaks or waits for an operator, perhaps for weeks: each report is in its history. */
const idleSilenceMs = 60 * 60_000;

/** A cluster that was told to hand leadership over, and has not, is told again after this. */
const transferMs = 15_000;
const transferLookMs = 500;

/** A member that is not being stopped by then asks for its turn again: its group is looked at. */
const turnMs = 60_000;

/** An order that changed nothing is given again after this: it crossed with a report. */
const tellAgainMs = 15_000;

export class MemberTurns {
  readonly #state: ClusterState;
  readonly #calls: ClusterCalls;
  readonly #waits: ClusterWaits;
  readonly #trail: ClusterTrail;
  #transferMs = Number.NEGATIVE_INFINITY;

  constructor(given: {
    readonly state: ClusterState;
    readonly calls: ClusterCalls;
    readonly waits: ClusterWaits;
    readonly trail: ClusterTrail;
  }) {
    this.#state = given.state;
    this.#calls = given.calls;
    this.#waits = given.waits;
    this.#trail = given.trail;
  }

  /** The next member begins, or what keeps it is waited for. */
  async begin(): Promise<void> {
    const state = this.#state;
    state.stage = 'moving';
    if (this.#isTooLate()) return this.#leaveOut('its deadline has passed');
    if ((await this.#waits.passWindow()) === null) return;
    const look = await this.#calls.look();
    const next = this.judge(look);
    // A program that is replaced has no cutover: with its stop it is out.
    if (next?.step === 'binary' && !state.isApproved) return this.#untilApproved();
    if (next === undefined || !(await this.#isSafe(next, { look }))) return;
    if (!(await this.#trail.mayBegin(next))) return;
    // While the group was looked at something else may have been wished.
    if (next.stage !== 'pending' || state.paused || hasWish(state)) return;
    state.foreign = null;
    await this.#calls.attach(next);
    await this.#untilHeardFrom(next);
  }

  /** Who is next, and what speaks against that now: both are shown. */
  judge(look: GroupLook): TrackedMember | undefined {
    const state = this.#state;
    const pending = state.of('pending').map(({ spec }) => spec.member);
    state.order = orderOf(look, { pending, first: state.rollout.policy.order });
    const next = state.named(state.order[0] ?? '');
    if (next !== undefined) state.refusals = refusalsOf(look, candidateOf(next));
    return next;
  }

  /** Until it reports, or another's migration turns out to hold the member. */
  async #untilHeardFrom(member: TrackedMember): Promise<void> {
    const state = this.#state;
    const { member: name } = member.spec;
    // Histories of before forget what was said while it was attached.
    if (!patched('asked-until-it-says')) state.foreign = null;
    const { cluster } = state.rollout;
    const isLeftOut = () => member.stage === 'skipped';
    for (let heard = true; heard && !isHeard(member) && !hasWish(state) && !isLeftOut();) {
      await this.#calls.passOn();
      if (isHeard(member)) break;
      const foreign = foreignOf(state, name);
      if (foreign !== null) {
        const is = foreign.phase === null ? 'has not begun' : `is in phase ${foreign.phase}`;
        const reason = `migration ${foreign.migrationId} of ${name} runs already, and ${is}`;
        const remedy = `complete it, or roll it back: quorumshift status ${cluster}/${name}`;
        await this.#waits.toLookAgain({ kind: 'member', reason, remedy });
        await this.#calls.attach(member);
      } else {
        heard = await this.#waits.forNews(waitFor(member, 'has been asked for'), silenceMs);
      }
    }
    if (isHeard(member)) {
      if (member.stage === 'pending') member.stage = 'moving';
      return;
    }
    // It has been started: the wish that came meanwhile is one for it, too, or must make it stand
    // back. Histories of before take it for one that is still to begin.
    if (hasWish(state) && foreignOf(state, name) === null) {
      if (member.stage === 'pending' && patched('begun-is-moving')) member.stage = 'moving';
      return;
    }
    member.migrationId = null;
    if (member.stage !== 'pending') member.stage = 'skipped';
  }

  /** It is under way: its cutover is granted, once that is safe. */
  async accompany(member: TrackedMember): Promise<void> {
    const state = this.#state;
    state.stage = 'moving';
    if (this.#isTooLate()) return this.#giveUp(member, 'skip', 'the rollout’s deadline has passed');
    const staysMs = await this.#untilWindowEnds(member);
    if (staysMs === null) return;
    const { report } = member;
    if (report?.waiting?.kind !== 'approval') return this.#watch(member, staysMs);
    // Without a proof: one that is to be stopped, and has all that it needs for it.
    const { digest, generation } = report.proof ?? { digest: 'begin', generation: 0 };
    const sinceGrant = Date.now() - (member.granted?.atMs ?? 0);
    if (member.granted?.digest === digest && sinceGrant < tellAgainMs) {
      await this.#waits.forNews(
        waitFor(member, 'has been told to go on'),
        Math.min(tellAgainMs - sinceGrant, staysMs),
      );
      return;
    }
    if (state.paused) {
      const reason = 'an operator paused it';
      await this.#waits.forNews({ kind: 'paused', reason, remedy: 'resume' }, staysMs);
      return;
    }
    if (!state.isApproved && (report.proof !== null || member.step === 'binary')) {
      return this.#untilApproved(staysMs);
    }
    const endsMs = await this.#waits.passWindow();
    if (endsMs === null) return;
    if (!(await this.#isSafe(member, { look: await this.#calls.look() }))) return;
    if (!(await this.#trail.mayCutOver(member, report.proof, endsMs))) return;
    if (state.paused || hasWish(state) || this.#isTooLate()) return;
    member.granted = { digest, atMs: Date.now() };
    const by = state.approvedBy ?? state.rollout.requestedBy;
    const granted = { by, ...(endsMs < Infinity && { notAfterMs: endsMs }) };
    if (report.proof === null) {
      const notAfterMs = Math.min(endsMs, Date.now() + turnMs);
      await this.#calls.order(member, { order: 'begin', by, notAfterMs });
      return;
    }
    const proof = { digest, generation };
    await this.#calls.order(member, { order: 'approveCutover', ...granted, proof });
  }

  async #untilApproved(timeoutMs?: number): Promise<void> {
    const { rollout, coordinator } = this.#state;
    const byWave = rollout.policy.approval === 'per-wave' && coordinator !== null;
    const kind = byWave ? 'wave-approval' : 'approval';
    const reason = 'the first cutover waits for approval';
    const remedy = byWave ? 'approve the wave' : 'approve';
    await this.#waits.forNews({ kind, reason, remedy }, timeoutMs);
  }

  /** Until it says something. */
  async #watch(member: TrackedMember, staysMs: number): Promise<void> {
    const { waiting } = member.report ?? {};
    const says = waiting ? `waits (${waiting.kind}): ${waiting.reason}` : 'is being moved';
    const timeoutMs = Math.min(this.#untilDeadlineMs(), staysMs, silenceMs);
    const heard = await this.#waits.forNews(waitFor(member, says), timeoutMs);
    if (!heard && timeoutMs === silenceMs) await this.#askThoseOpen();
  }

  /**
   * Under `detach` a window that has ended takes the mirror, whatever its member waits for: null,
   * and it goes back. So many milliseconds it may stay otherwise, before it is looked at again.
   */
  async #untilWindowEnds(member: TrackedMember): Promise<number | null> {
    if (this.#state.rollout.policy.atWindowEnd === 'hold') return Infinity;
    const window = await this.#waits.window();
    if (window.is === 'open') return window.againMs;
    // A store that is away says nothing of a window's end.
    if (window.is === 'unknown') await this.#waits.forNews(window.waiting, window.againMs);
    else await this.#giveUp(member, 'again', 'its maintenance window has ended');
    return null;
  }

  /** Not cut over, it goes back: to be begun again, or not. */
  async #giveUp(member: TrackedMember, how: 'again' | 'skip', reason: string): Promise<void> {
    if (member.takenBack === null) {
      member.takenBack = how;
      member.reason = how === 'skip' ? reason : null;
    }
    await this.#tellBack(member, { by: 'quorumshift', reason });
    await this.#waits.forNews(waitFor(member, `goes back: ${reason}`), tellAgainMs);
  }

  /** Told again after a while: an order that is not legal yet is ignored. */
  async #tellBack(member: TrackedMember, wish: { by: string; reason: string }): Promise<void> {
    const sinceTold = Date.now() - (member.toldBackMs ?? 0);
    if (sinceTold < tellAgainMs || isGoingBack(member)) return;
    this.#trail.takesBack(member, wish);
    member.toldBackMs = Date.now();
    await this.#calls.order(member, { order: 'resume', by: wish.by });
    await this.#calls.order(member, { order: 'rollback', ...wish });
  }

  #leaveOut(reason: string): void {
    const pending = this.#state.of('pending');
    this.#trail.leavesOut(pending, reason);
    for (const member of pending) Object.assign(member, { stage: 'skipped', reason });
  }

  #untilDeadlineMs(): number {
    return Math.max(0, this.#state.deadlineMs - Date.now());
  }

  #isTooLate(): boolean {
    return this.#untilDeadlineMs() <= 0;
  }

  /** True when the member may be put at risk now; waits, or has the leader changed, otherwise. */
  async #isSafe(
    member: TrackedMember,
    { look, goesBack = false }: { readonly look: GroupLook; readonly goesBack?: boolean },
  ): Promise<boolean> {
    const state = this.#state;
    const { member: name } = member.spec;
    state.refusals = refusalsOf(look, candidateOf(member));
    if (state.refusals.length > 0) {
      const reasons = state.refusals.map(
        ({ member: of, reason }) => (of ? `${of}: ` : '') + reason,
      );
      const remedy = 'mend the group; it is looked at again and again';
      await this.#waits.toLookAgain({ kind: 'health', reason: reasons.join('; '), remedy });
      return false;
    }
    const moved = state.members.filter(isMoved).map(({ spec }) => spec.member);
    const successor = successorOf(look, { member: name, moved });
    if (successor === null) return true;
    let problem: string | null = null;
    if (Date.now() - this.#transferMs >= transferMs) {
      const { term = '' } = look.members.find((one) => one.member === name)?.raft ?? {};
      const transfer = { from: name, to: successor.member, term };
      if (!(await this.#trail.mayTransfer(transfer, !goesBack))) return false;
      this.#transferMs = Date.now();
      problem = await this.#calls.transfer(member.spec, successor);
    }
    const why = problem === null ? '' : `: ${problem}`;
    const reason = `${name} leads: its leadership is to go to ${successor.member}${why}`;
    const remedy = 'wait; it is told again';
    await this.#waits.forNews({ kind: 'health', reason, remedy }, transferLookMs);
    return false;
  }

  /** All that were to move have: they soak, then are finalized. */
  async soak(): Promise<void> {
    const state = this.#state;
    const soaking = state.of('soaking');
    const left = soaking.filter(({ report }) => report?.waiting?.kind !== 'finalize');
    const unwell = soaking.filter(({ report }) => report?.soakProblem != null);
    state.stage = 'soaking';
    if (left.length > 0) {
      const names = left.map(({ spec }) => spec.member).join(', ');
      return this.#idle({
        kind: 'soak',
        reason: `${names} soak`,
        remedy: 'wait, complete or roll back',
      });
    }
    const { finalize } = state.rollout.policy;
    const byFleet = finalize === 'per-wave' && state.coordinator !== null;
    if (finalize !== 'manual' && !byFleet && unwell.length === 0) {
      if (await this.#trail.mayFinalize(soaking)) state.completeWish = true;
      return;
    }
    const but = unwell.map(
      ({ spec, report }) => `; but ${spec.member}: ${report?.soakProblem ?? ''}`,
    );
    const reason = `all have soaked; the sources are kept until finalize${but.join('')}`;
    await this.#idle({ kind: 'finalize', reason, remedy: 'complete or roll back' });
  }

  async #idle(waiting: ClusterWaitReason, askAfterMs = idleSilenceMs): Promise<void> {
    if (!(await this.#waits.forNews(waiting, askAfterMs))) await this.#askThoseOpen();
  }

  /** Ends the soak of all that soak now. */
  async complete(): Promise<void> {
    const state = this.#state;
    const soaking = state.of('soaking');
    state.completeWish = false;
    state.stage = 'finalizing';
    for (const member of soaking) {
      const by = state.completedBy ?? state.rollout.requestedBy;
      await this.#calls.order(member, { order: 'complete', by });
    }
    while (soaking.some(({ stage }) => stage === 'soaking') && !hasWish(state)) {
      const names = soaking
        .filter(({ stage }) => stage === 'soaking')
        .map(({ spec }) => spec.member);
      const reason = `${names.join(', ')}: the sources are being retired`;
      const heard = await this.#waits.forNews(
        { kind: 'member', reason, remedy: 'wait' },
        silenceMs,
      );
      const isLost = soaking.some((member) => member.isLost);
      if ((!heard || isLost) && patched('complete-again')) {
        // Adopted where its workflow is gone, then told again.
        state.completeWish = true;
        return;
      }
      if (!heard) await this.#askThoseOpen();
    }
  }

  /** Rolls back the first of those that are to, or waits until it has been. */
  async takeBack(): Promise<void> {
    const state = this.#state;
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
      return this.#giveUp(other, 'again', 'another member goes back');
    }
    const isNew = member.takenBack !== 'out';
    if (isNew) {
      if (serves && !(await this.#mayGoBack(member))) return;
      member.takenBack = 'out';
      member.reason = reason;
    }
    // A run that was about to end as it was asked is started the next time.
    if (!isOpen(member) && (isNew || patched('asked-until-it-says'))) {
      await this.#calls.attach(member);
    }
    await this.#tellBack(member, { by: state.takeBackWish?.by ?? 'quorumshift', reason });
    if (member.stage === 'failed') await this.#untilResumed(member);
    else await this.#waits.forNews(waitFor(member, 'goes back'), tellAgainMs);
  }

  /** What is found of the member itself is why it goes, if it does not lead: it counts no more. */
  async #mayGoBack(member: TrackedMember): Promise<boolean> {
    const look = await this.#calls.look();
    const without = { ...candidateOf(member), staysUp: false, isUnderWay: true };
    return refusalsOf(look, without).length === 0 || this.#isSafe(member, { look, goesBack: true });
  }

  /** A way back that does not succeed by itself. */
  async #untilResumed(member: TrackedMember): Promise<void> {
    const state = this.#state;
    const before = state.retryVersion;
    const reason = `${member.spec.member} does not go back: ${member.reason ?? ''}`;
    await this.#waits.forNews({ kind: 'failed', reason, remedy: 'mend it, then resume' });
    if (state.retryVersion === before) return;
    await this.#calls.order(member, { order: 'resume', by: state.takeBackWish?.by ?? '' });
  }

  /** What an operator wants tried again; true when something was. */
  retry(): boolean {
    const state = this.#state;
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
    const state = this.#state;
    const { onFailure } = state.rollout.policy;
    state.stage = 'failed';
    for (const member of state.of('failed').filter(({ isHandled }) => !isHandled)) {
      member.isHandled = true;
      this.#trail.stops(member);
      const reason = `${member.spec.member} failed: ${member.reason ?? ''}`;
      const by = 'quorumshift';
      if (onFailure === 'rollback-cluster') state.wishBack(null, { by, reason });
      else if (onFailure === 'rollback-replica' && isOpen(member) && !isGoingBack(member)) {
        this.#trail.takesBack(member, { by, reason });
        await this.#calls.order(member, { order: 'rollback', by, reason });
      }
    }
    if (state.takeBack.length > 0) return;
    // A member that goes back by itself needs the lease that one under way holds.
    const [moving] = state.of('moving');
    if (moving !== undefined && state.undecided.some(isGoingBack)) {
      return this.#giveUp(moving, 'again', 'another member goes back');
    }
    const reason = state.undecided
      .map((member) => `${member.spec.member}: ${member.reason ?? member.stage}`)
      .join('; ');
    const remedy = 'resume to try again, skip it, roll back, or abandon';
    await this.#idle({ kind: 'stopped', reason, remedy });
  }

  async #askThoseOpen(): Promise<void> {
    for (const member of this.#state.members.filter(isOpen)) await this.#calls.attach(member);
  }
}

function candidateOf({ spec, mode, size, stage, report }: TrackedMember): Candidate {
  const staysUp = (mode ?? size?.mode ?? 'stopped') === 'live';
  return { member: spec.member, staysUp, isUnderWay: stage === 'moving' && report?.phase != null };
}

function isHeard(member: TrackedMember): boolean {
  return member.report !== null;
}

/** Its run goes back now, and will say what it came to. */
function isGoingBack(member: TrackedMember): boolean {
  const { report } = member;
  if (report === null || !isOpen(member)) return false;
  // Without a phase it waits for its lease before it begins.
  const isAsking = report.waiting?.kind === 'lease' && report.phase !== null;
  return report.rollingBack || isAsking;
}

function foreignOf(state: ClusterState, name: string) {
  const { foreign } = state;
  if (foreign?.member !== name || foreign.outcome !== null || foreign.failed) return null;
  return foreign;
}

/** What ends a wait for a member in any case. */
function hasWish({ abandonWish, takeBack }: ClusterState): boolean {
  return abandonWish !== null || takeBack.length > 0;
}

function waitFor({ spec }: TrackedMember, says: string): ClusterWaitReason {
  const reason = `${spec.member} ${says}`;
  return { kind: 'member', reason, remedy: 'see its own status for more' };
}

/**
 * Whether the group may spare a member now (I14, ROLL-3): it is looked at before each step that
 * puts one at risk, and a leader is asked to hand over first.
 */
import {
  orderOf,
  refusalsOf,
  successorOf,
  type Candidate,
  type GroupLook,
} from '../core/quorum.ts';
import type { RolloutParts } from './rollout-parts.ts';
import { isMoved, type TrackedMember } from './tracked-members.ts';

/** A cluster that was told to hand leadership over, and has not, is told again after this. */
const transferMs = 15_000;
const transferLookMs = 500;

export class GroupGuard {
  readonly #parts: RolloutParts;
  #transferMs = Number.NEGATIVE_INFINITY;

  constructor(parts: RolloutParts) {
    this.#parts = parts;
  }

  /** Who is next, and what speaks against that now: both are shown. */
  judge(look: GroupLook): TrackedMember | undefined {
    const { state } = this.#parts;
    const pending = state.of('pending').map(({ spec }) => spec.member);
    state.order = orderOf(look, { pending, first: state.rollout.policy.order });
    const next = state.named(state.order[0] ?? '');
    if (next !== undefined) state.refusals = refusalsOf(look, candidateOf(next));
    return next;
  }

  /** True when the member may be put at risk now; waits, or has the leader changed, otherwise. */
  async isSafe(
    member: TrackedMember,
    { look, goesBack = false }: { readonly look: GroupLook; readonly goesBack?: boolean },
  ): Promise<boolean> {
    const { state, calls, waits, trail } = this.#parts;
    const { member: name } = member.spec;
    state.refusals = refusalsOf(look, candidateOf(member));
    if (state.refusals.length > 0) {
      const reasons = state.refusals.map(
        ({ member: of, reason }) => (of ? `${of}: ` : '') + reason,
      );
      const remedy = 'mend the group; it is looked at again and again';
      await waits.toLookAgain({ kind: 'health', reason: reasons.join('; '), remedy });
      return false;
    }
    const moved = state.members.filter(isMoved).map(({ spec }) => spec.member);
    const successor = successorOf(look, { member: name, moved });
    if (successor === null) return true;
    let problem: string | null = null;
    if (Date.now() - this.#transferMs >= transferMs) {
      const { term = '' } = look.members.find((one) => one.member === name)?.raft ?? {};
      const transfer = { from: name, to: successor.member, term };
      if (!(await trail.mayTransfer(transfer, !goesBack))) return false;
      this.#transferMs = Date.now();
      problem = await calls.transfer(member.spec, successor);
    }
    const why = problem === null ? '' : `: ${problem}`;
    const reason = `${name} leads: its leadership is to go to ${successor.member}${why}`;
    const remedy = 'wait; it is told again';
    await waits.forNews({ kind: 'health', reason, remedy }, transferLookMs);
    return false;
  }

  /** What is found of the member itself is why it goes, if it does not lead: it counts no more. */
  async mayGoBack(member: TrackedMember): Promise<boolean> {
    const look = await this.#parts.calls.look();
    const without = { ...candidateOf(member), staysUp: false, isUnderWay: true };
    return refusalsOf(look, without).length === 0 || this.isSafe(member, { look, goesBack: true });
  }
}

function candidateOf({ spec, mode, size, stage, report }: TrackedMember): Candidate {
  const staysUp = (mode ?? size?.mode ?? 'stopped') === 'live';
  return { member: spec.member, staysUp, isUnderWay: stage === 'moving' && report?.phase != null };
}

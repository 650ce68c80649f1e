/**
 * Whether a member of a Raft group may be put at risk now, and which is next (I14, ROLL-3). Pure:
 * from what the members say of themselves, asked one after the other, so a little apart in time.
 */
import type { RaftView } from './raft-view.ts';

/** A member of the group, as declared and as it answers. */
export interface SeenMember {
  readonly member: string;
  /** How the group's configuration calls it. */
  readonly raftId: string;
  /** Null where it gave no answer; `problem` says why. */
  readonly raft: RaftView | null;
  readonly problem: string | null;
  /** The phase in which its record stands half way; null where it does not. */
  readonly halfWay: string | null;
}

/** Why a group may not be touched now: one refusal for each reason that was found. */
export interface Refusal {
  readonly kind:
    | 'unreachable'
    | 'unhealthy'
    | 'no-leader'
    | 'lagging'
    | 'change-pending'
    | 'no-quorum'
    | 'at-risk'
    | 'not-as-declared';
  readonly member: string | null;
  readonly reason: string;
}

export interface GroupLook {
  readonly members: readonly SeenMember[];
  /** A member that lacks more entries than this of what is committed lags. */
  readonly maxLagEntries: number;
}

export interface Candidate {
  readonly member: string;
  /** Its process goes on while it is moved: it answers, and counts for the group. */
  readonly staysUp: boolean;
  /** The rollout that asks has begun to move it: that it stands half way says nothing new. */
  readonly isUnderWay: boolean;
}

/** The leader as itself and the group's newest term say; null where none is. */
export function leaderOf(members: readonly SeenMember[]): SeenMember | null {
  const answering = members.filter(({ raft }) => raft !== null);
  const newest = answering.reduce((term, { raft }) => max(term, BigInt(raft?.term ?? 0)), 0n);
  const leaders = answering.filter(
    ({ raft, raftId }) =>
      raft?.role === 'leader' && BigInt(raft.term) === newest && raft.leader === raftId,
  );
  return leaders.length === 1 ? (leaders[0] ?? null) : null;
}

/** How a member stood at a look. */
export interface MemberStanding {
  readonly role: RaftView['role'] | 'unreachable';
  /** Entries that it lacks of what is committed; null where nobody leads. */
  readonly lag: string | null;
}

export function standingOf(look: GroupLook, { raft }: SeenMember): MemberStanding {
  const leader = leaderOf(look.members)?.raft ?? null;
  if (raft === null) return { role: 'unreachable', lag: null };
  return { role: raft.role, lag: leader && String(lagOf(raft, leader)) };
}

/** Everything that speaks against putting `candidate` at risk now; empty: it may be. */
export function refusalsOf(look: GroupLook, candidate: Candidate): readonly Refusal[] {
  const others = look.members.filter(({ member }) => member !== candidate.member);
  const { isUnderWay, staysUp } = candidate;
  // One that is stopped cannot answer.
  const asked = isUnderWay && !staysUp ? others : look.members;
  const leader = leaderOf(asked);
  const refusals: Refusal[] = asked.flatMap((seen) => ofMember(seen, leader, look));
  for (const { member, halfWay } of isUnderWay ? others : look.members) {
    if (halfWay !== null) refusals.push(atRisk(member, halfWay));
  }
  if (leader === null) {
    refusals.push({ kind: 'no-leader', member: null, reason: 'no member leads the newest term' });
    return refusals;
  }
  refusals.push(...ofConfiguration(leader, look.members));
  const short = quorumWithout({ look, leader, candidate });
  if (short !== null) refusals.push({ kind: 'no-quorum', member: null, reason: short });
  return refusals;
}

/** What a look at one member finds. */
function ofMember(
  { member, raft, problem, raftId }: SeenMember,
  leader: SeenMember | null,
  { maxLagEntries }: GroupLook,
): Refusal[] {
  if (raft === null) {
    return [{ kind: 'unreachable', member, reason: problem ?? 'it does not answer' }];
  }
  const found: Refusal[] = [];
  if (raft.changePending) {
    const reason = 'a change of the group’s configuration is not committed yet';
    found.push({ kind: 'change-pending', member, reason });
  }
  if (!['leader', 'follower', 'learner'].includes(raft.role)) {
    found.push({ kind: 'unhealthy', member, reason: `its role is ${raft.role}` });
  }
  if (leader?.raft === null || leader === null) return found;
  if (raft.leader !== leader.raftId || raft.term !== leader.raft.term) {
    const follows = `it follows ${raft.leader ?? 'nobody'} in term ${raft.term}`;
    const reason = `${follows}, not ${leader.raftId} in term ${leader.raft.term}`;
    found.push({ kind: 'no-leader', member, reason });
  } else if (raft.role === 'leader' && raftId !== leader.raftId) {
    found.push({ kind: 'no-leader', member, reason: 'it believes to lead too' });
  }
  const lag = lagOf(raft, leader.raft);
  if (lag > BigInt(maxLagEntries)) {
    const reason = `it lacks ${lag} entries of what is committed; at most ${maxLagEntries} may`;
    found.push({ kind: 'lagging', member, reason });
  }
  return found;
}

/** The group's own configuration names the very members that were declared. */
function ofConfiguration(leader: SeenMember, members: readonly SeenMember[]): Refusal[] {
  const configured = new Set(leader.raft?.members.map(({ raftId }) => raftId));
  const declared = new Set(members.map(({ raftId }) => raftId));
  return [
    ...[...configured]
      .filter((raftId) => !declared.has(raftId))
      .map((raftId) => `the group has a member ${raftId} that the inventory does not`),
    ...members
      .filter(({ raftId }) => !configured.has(raftId))
      .map(({ member, raftId }) => `${member} (${raftId}) is no member of the group`),
  ].map((reason) => ({ kind: 'not-as-declared', member: null, reason }));
}

/** Why the rest would be no healthy majority; null when it is one. */
function quorumWithout(given: {
  readonly look: GroupLook;
  readonly leader: SeenMember;
  readonly candidate: Candidate;
}): string | null {
  const { look, leader, candidate } = given;
  const voters = votersOf(leader);
  const healthy = look.members.filter(
    (seen) => voters.has(seen.raftId) && ofMember(seen, leader, look).length === 0,
  );
  const rest = healthy.filter(
    ({ member, halfWay }) => member !== candidate.member && halfWay === null,
  );
  const majority = Math.floor(voters.size / 2) + 1;
  // A group of one or two stands no loss, moved or not: it is enough that nothing of it stops.
  const counted = candidate.staysUp && voters.size <= 2 ? healthy : rest;
  if (counted.length >= majority) return null;
  return `without ${candidate.member} there are ${rest.length} healthy voters of ${voters.size}, and ${majority} are needed`;
}

function votersOf(leader: SeenMember): ReadonlySet<string> {
  const members = leader.raft?.members ?? [];
  return new Set(members.filter(({ voter }) => voter).map(({ raftId }) => raftId));
}

function atRisk(member: string, phase: string): Refusal {
  return { kind: 'at-risk', member, reason: `it stands half way, in phase ${phase}` };
}

/** Of what the leader has committed, how much the other has not applied or does not hold. */
function lagOf(raft: RaftView, leader: RaftView): bigint {
  const held = min(BigInt(raft.lastIndex), BigInt(raft.appliedIndex));
  return max(0n, BigInt(leader.commitIndex) - held);
}

/** Learners, then `first`, then the others by name, the leader last, whatever. */
export function orderOf(
  look: GroupLook,
  { pending, first }: { readonly pending: readonly string[]; readonly first: readonly string[] },
): readonly string[] {
  const leader = leaderOf(look.members);
  const voters = leader === null ? null : votersOf(leader);
  const place = (name: string) => (first.includes(name) ? first.indexOf(name) : first.length);
  const keyOf = ({ member, raftId }: SeenMember): readonly number[] => [
    raftId === leader?.raftId ? 1 : 0,
    voters === null || voters.has(raftId) ? 1 : 0,
    place(member),
  ];
  return look.members
    .filter(({ member }) => pending.includes(member))
    .toSorted((a, b) => compare(keyOf(a), keyOf(b)) || (a.member < b.member ? -1 : 1))
    .map(({ member }) => member);
}

function compare(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
}

/**
 * Who is to lead before `member` is put at risk: a voter that has been moved, caught up; where
 * none has been, any that has. Null: nothing is to be done, as `member` does not lead, or votes
 * alone.
 */
export function successorOf(
  look: GroupLook,
  { member, moved }: { readonly member: string; readonly moved: readonly string[] },
): SeenMember | null {
  const leader = leaderOf(look.members);
  if (leader?.member !== member) return null;
  const voters = votersOf(leader);
  const able = look.members.filter(
    (seen) =>
      seen.member !== member &&
      seen.halfWay === null &&
      voters.has(seen.raftId) &&
      ofMember(seen, leader, look).length === 0,
  );
  const preferred = able.filter((seen) => moved.includes(seen.member));
  const [best] = (preferred.length > 0 ? preferred : able).toSorted((a, b) =>
    BigInt(a.raft?.lastIndex ?? 0) > BigInt(b.raft?.lastIndex ?? 0) ? -1 : 1,
  );
  return best ?? null;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  leaderOf,
  orderOf,
  refusalsOf,
  successorOf,
  type Candidate,
  type GroupLook,
  type SeenMember,
} from '../../core/quorum.ts';
import type { RaftRole, RaftView } from '../../core/raft-view.ts';

const names = ['a', 'b', 'c', 'd', 'e'];

/** A healthy group of so many voters, led by the first, and learners after them. */
function group(voters: number, learners = 0): SeenMember[] {
  const raftIds = names.slice(0, voters + learners);
  const members = raftIds.map((raftId, i) => ({ raftId, voter: i < voters }));
  return raftIds.map((raftId, i) => ({
    member: raftId,
    raftId,
    problem: null,
    halfWay: null,
    raft: {
      role: i === 0 ? 'leader' : i < voters ? 'follower' : 'learner',
      term: '3',
      leader: 'a',
      commitIndex: '100',
      appliedIndex: '100',
      lastIndex: '100',
      members,
      changePending: false,
    },
  }));
}

function changed(
  members: readonly SeenMember[],
  name: string,
  change: Partial<RaftView> | null,
): SeenMember[] {
  return members.map((seen) => {
    if (seen.member !== name || seen.raft === null) return seen;
    if (change === null) return { ...seen, raft: null, problem: 'refused' };
    return { ...seen, raft: { ...seen.raft, ...change } };
  });
}

const look = (members: readonly SeenMember[]): GroupLook => ({ members, maxLagEntries: 10 });

const take = (member: string, given: Partial<Candidate> = {}): Candidate => ({
  member,
  staysUp: false,
  isUnderWay: false,
  ...given,
});

const kinds = (members: readonly SeenMember[], candidate: Candidate) => [
  ...new Set(refusalsOf(look(members), candidate).map(({ kind }) => kind)),
];

describe('a member may be taken', () => {
  test('of a healthy group of three or five, whoever it is [ROLL-3]', () => {
    for (const voters of [3, 5]) {
      for (const { member } of group(voters))
        expect(kinds(group(voters), take(member))).toEqual([]);
    }
  });

  test('stopped for its cutover already: it need not answer', () => {
    const members = changed(group(3), 'b', null).map((seen) =>
      seen.member === 'b' ? { ...seen, halfWay: 'swap' } : seen,
    );
    expect(kinds(members, take('b', { isUnderWay: true }))).toEqual([]);
  });

  test('of a group of one or two only while its process goes on', () => {
    for (const voters of [1, 2]) {
      expect(kinds(group(voters), take('a'))).toEqual(['no-quorum']);
      expect(kinds(group(voters), take('a', { staysUp: true }))).toEqual([]);
      const underWay = group(voters).map((seen) =>
        seen.member === 'a' ? { ...seen, halfWay: 'swap' } : seen,
      );
      expect(kinds(underWay, take('a', { staysUp: true, isUnderWay: true }))).toEqual([]);
    }
  });
});

describe('a member may not be taken', () => {
  const refused: readonly (readonly [string, SeenMember[], readonly string[]])[] = [
    ['another does not answer', changed(group(3), 'c', null), ['unreachable', 'no-quorum']],
    ['the leader does not answer', changed(group(3), 'a', null), ['unreachable', 'no-leader']],
    ['another lags', changed(group(3), 'c', { lastIndex: '89' }), ['lagging', 'no-quorum']],
    [
      'another has not applied what it holds',
      changed(group(5), 'c', { appliedIndex: '80' }),
      ['lagging'],
    ],
    ['another stands for election', changed(group(5), 'c', { role: 'candidate' }), ['unhealthy']],
    [
      'another is in a newer term',
      changed(group(3), 'c', { term: '4', leader: null }),
      ['no-leader'],
    ],
    ['another follows somebody else', changed(group(5), 'c', { leader: 'e' }), ['no-leader']],
    [
      'a change of the configuration is pending',
      changed(group(5), 'a', { changePending: true }),
      ['change-pending'],
    ],
    [
      'another stands half way',
      group(5).map((seen) => (seen.member === 'c' ? { ...seen, halfWay: 'copy' } : seen)),
      ['at-risk'],
    ],
    [
      'it stands half way itself, by another migration',
      group(5).map((seen) => (seen.member === 'b' ? { ...seen, halfWay: 'copy' } : seen)),
      ['at-risk'],
    ],
    ['a voter is not declared', group(3).slice(0, 2), ['not-as-declared', 'no-quorum']],
    [
      'a declared member is none of the group',
      [...group(3), { ...group(1)[0], member: 'x', raftId: 'x' } as SeenMember],
      ['no-leader', 'not-as-declared'],
    ],
  ];

  test.each(refused)('%s [ROLL-3] [I14]', (_why, members, expected) => {
    expect(kinds(members, take('b'))).toEqual(expect.arrayContaining([...expected]));
  });

  test('every reason is named at once, with the member it is about', () => {
    const members = changed(changed(group(5), 'c', null), 'd', { lastIndex: '1' });
    expect(refusalsOf(look(members), take('b')).map(({ kind, member }) => [kind, member])).toEqual([
      ['unreachable', 'c'],
      ['lagging', 'd'],
      ['no-quorum', null],
    ]);
  });
});

describe('the order', () => {
  test('learners, those named, the others by name, the leader last, even when it is named first', () => {
    const members = group(4, 1);
    const pending = names;
    expect(orderOf(look(members), { pending, first: ['a', 'd'] })).toEqual([
      'e',
      'd',
      'b',
      'c',
      'a',
    ]);
  });

  test('before the leader goes, its leadership goes to a voter that has moved and keeps up', () => {
    const members = changed(group(3), 'c', { lastIndex: '99' });
    const of = (given: SeenMember[], moved: string[]) =>
      successorOf(look(given), { member: 'a', moved })?.member ?? null;
    expect(of(members, ['b', 'c'])).toBe('b');
    expect(of(members, ['c'])).toBe('c');
    expect(of(changed(members, 'c', { lastIndex: '1' }), ['c'])).toBe('b');
    expect(of(group(1, 1), ['b'])).toBe(null);
    expect(successorOf(look(members), { member: 'b', moved: [] })).toBe(null);
  });
});

const roles: readonly RaftRole[] = ['leader', 'follower', 'learner', 'candidate', 'unknown'];
const index = fc.nat({ max: 30 }).map(String);

/** Whatever a group's members may answer, most of it inconsistent. */
const anyGroup = fc
  .record({ voters: fc.integer({ min: 1, max: 4 }), learners: fc.integer({ min: 0, max: 1 }) })
  .chain(({ voters, learners }) => {
    const base = group(voters, learners);
    const odd = fc.record(
      {
        role: fc.constantFrom(...roles),
        term: fc.constantFrom('2', '3', '4'),
        leader: fc.constantFrom('a', 'b', null),
        lastIndex: index,
        appliedIndex: index,
        commitIndex: index,
        changePending: fc.boolean(),
      },
      { requiredKeys: [] },
    );
    const change = fc.oneof(
      { weight: 4, arbitrary: fc.constant({}) },
      { weight: 1, arbitrary: fc.constant(null) },
      { weight: 2, arbitrary: odd },
    );
    const halfWay = fc.oneof(
      { weight: 5, arbitrary: fc.constant(null) },
      { weight: 1, arbitrary: fc.constant('copy') },
    );
    return fc
      .array(fc.tuple(change, halfWay), { minLength: base.length, maxLength: base.length })
      .map((given) =>
        base.map((seen, i): SeenMember => {
          const [view, stands] = given[i] ?? [{}, null];
          const [only] = changed([seen], seen.member, view);
          return { ...(only ?? seen), halfWay: stands };
        }),
      );
  });

describe('whatever the members answer', () => {
  test('if one may be taken, the rest is a healthy majority and nobody else is at risk [I14]', () => {
    let allowed = 0;
    fc.assert(
      fc.property(
        anyGroup,
        fc.constantFrom('a', 'b', 'c'),
        fc.boolean(),
        fc.boolean(),
        (members, member, staysUp, isUnderWay) => {
          const candidate = { member, staysUp, isUnderWay };
          if (refusalsOf(look(members), candidate).length > 0) return;
          allowed += 1;
          const leader = leaderOf(
            members.filter((seen) => !isUnderWay || staysUp || seen.member !== member),
          );
          const view = leader?.raft ?? null;
          if (view === null) throw new Error('taken without a leader');
          const others = members.filter((seen) => seen.member !== member);
          expect(others.filter(({ halfWay }) => halfWay !== null)).toEqual([]);
          const voters = view.members.filter(({ voter }) => voter).map(({ raftId }) => raftId);
          const isSound = ({ raft, raftId }: SeenMember) =>
            raft !== null &&
            voters.includes(raftId) &&
            raft.term === view.term &&
            raft.leader === view.leader &&
            !raft.changePending &&
            Number(view.commitIndex) -
              Math.min(Number(raft.lastIndex), Number(raft.appliedIndex)) <=
              10;
          const majority = Math.floor(voters.length / 2) + 1;
          const counted = staysUp && voters.length <= 2 ? members : others;
          expect(counted.filter(isSound).length).toBeGreaterThanOrEqual(majority);
        },
      ),
      { numRuns: 20_000 },
    );
    expect(allowed).toBeGreaterThan(100);
  });

  test('the order names each once, and the leader last', () => {
    fc.assert(
      fc.property(anyGroup, fc.shuffledSubarray(names), (members, first) => {
        const pending = members.map(({ member }) => member);
        const order = orderOf(look(members), { pending, first });
        expect(order.toSorted()).toEqual(pending.toSorted());
        const leader = leaderOf(members);
        if (leader !== null) expect(order.at(-1)).toBe(leader.member);
      }),
    );
  });
});

/** What must be refused, and that a refusal changes nothing. */
import { batchOf, type EntryBatch } from '../entry-batch.ts';
import type { ConformanceCase } from './conformance-env.ts';
import {
  appendOf,
  entriesOf,
  rejectsWith,
  snapshotOf,
  voteA,
  voteB,
  withSubject,
} from './conformance-env.ts';
import { prepareSnapshot } from './state-model.ts';

const u64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
};

export const refusalCases: readonly ConformanceCase[] = [
  {
    name: 'suffix truncation below the first index: refused',
    clauses: ['LOG-2'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply({ reset: 10n, ...appendOf(9n, 5) });
        await subject.refuses('log.truncate-below-first', { truncate: { lastKept: 8n } });
      }),
  },
  {
    name: 'truncations that would keep everything: nothing happens',
    clauses: ['LOG-2'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply({ reset: 10n, ...appendOf(9n, 5) });
        await subject.apply({ truncate: { firstKept: 3n } });
        await subject.apply({ truncate: { lastKept: 99n } });
      }),
  },
  {
    name: 'an append beyond a gap, without a snapshot there: refused',
    clauses: ['LOG-4'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply(appendOf(0n, 5));
        await subject.refuses('log.gap', appendOf(6n, 1));
        await subject.apply({ snapshot: snapshotOf(9n, 'nine') });
        await subject.refuses('log.gap', appendOf(8n, 1));
        await subject.refuses('log.gap', appendOf(10n, 1));
      }),
  },
  {
    name: 'an append below the first index: refused',
    clauses: ['LOG-4'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply({ reset: 10n, ...appendOf(9n, 5) });
        await subject.refuses('log.gap', appendOf(5n, 4));
      }),
  },
  {
    name: 'an append at a snapshot beyond the end, in a later mutation: the log moves there',
    clauses: ['LOG-4'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply(appendOf(0n, 5));
        await subject.apply({ snapshot: snapshotOf(9n, 'nine') });
        await subject.reopen();
        await subject.apply(appendOf(9n, 2, 4n));
      }),
  },
  {
    name: 'entries given again: accepted when the same, also with new ones behind them',
    clauses: ['LOG-5'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply(appendOf(0n, 5));
        await subject.apply(appendOf(0n, 5));
        await subject.apply(appendOf(2n, 6));
      }),
  },
  {
    name: 'an entry given again with another payload: refused, never taken for a replay',
    clauses: ['LOG-5'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply(appendOf(0n, 5));
        const payload = Buffer.from('another one');
        const list = [...entriesOf(3n, 3n), { index: 4n, term: 1n, type: 2, payload }];
        await subject.refuses('log.identity-reused', { entries: { after: 2n, list } });
      }),
  },
  {
    name: 'an entry of another term where one is: refused unless truncated first',
    clauses: ['LOG-3', 'LOG-5'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply(appendOf(0n, 5));
        const entries = { after: 3n, list: entriesOf(4n, 6n, 2n) };
        await subject.refuses('log.conflict', { entries });
        await subject.apply({ truncate: { lastKept: 3n }, entries });
      }),
  },
  {
    name: 'a refused append together with other changes: none of them happens',
    clauses: ['LOG-1', 'LOG-4'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply({ ...appendOf(0n, 5), meta: { term: 3n } });
        const meta = { term: 4n, votedFor: voteA };
        await subject.refuses('log.gap', { truncate: { lastKept: 2n }, meta, ...appendOf(4n, 1) });
      }),
  },
  {
    name: 'batches that do not follow each other: refused',
    clauses: ['LOG-4'],
    run: (env) =>
      withSubject(env, async ({ instance }) => {
        const batches: EntryBatch[] = [batchOf(entriesOf(1n, 2n)), batchOf(entriesOf(4n, 4n))];
        await rejectsWith('log.invalid-batch', () =>
          instance.apply({ entries: { after: 0n, batches } }),
        );
      }),
  },
  {
    name: 'a lower term: refused; a higher one clears the vote',
    clauses: ['LOG-6'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply({ meta: { term: 5n, votedFor: voteA } });
        await subject.refuses('meta.term-falls', { meta: { term: 4n } });
        await subject.apply({ meta: { term: 6n } });
      }),
  },
  {
    name: 'another vote in the same term: refused; the same one again is accepted',
    clauses: ['LOG-6'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply({ meta: { term: 5n, votedFor: voteA } });
        await subject.apply({ meta: { term: 5n, votedFor: voteA } });
        await subject.refuses('meta.vote-changes', { meta: { votedFor: voteB } });
        await subject.refuses('meta.vote-changes', { meta: { term: 5n, votedFor: null } });
      }),
  },
  {
    name: "hashicorp's raw vote keys, one after the other: the vote clears, then follows the candidate",
    clauses: ['LOG-6'],
    run: (env) =>
      withSubject(env, async (subject) => {
        const save = async (
          key: string,
          value: Buffer,
          derived: { term: bigint; vote: Buffer | null },
        ) => {
          const auxiliary = new Map([[key, value]]);
          await subject.instance.apply({ meta: { auxiliary } });
          const stored = new Map([...subject.model.meta.auxiliary, [key, value]]);
          const meta = { term: derived.term, votedFor: derived.vote, auxiliary: stored };
          subject.model = { ...subject.model, meta };
          await subject.reopen();
        };
        await save('CurrentTerm', u64(0n), { term: 1n, vote: null });
        await save('CurrentTerm', u64(7n), { term: 7n, vote: null });
        await save('LastVoteTerm', u64(7n), { term: 7n, vote: null });
        await save('LastVoteCand', voteA, { term: 7n, vote: voteA });
        await save('CurrentTerm', u64(8n), { term: 8n, vote: null });
        await save('LastVoteTerm', u64(8n), { term: 8n, vote: null });
        await save('LastVoteCand', voteB, { term: 8n, vote: voteB });
      }),
  },
  {
    name: 'a snapshot below the present one: refused, and its tree can be aborted',
    clauses: ['LOG-7'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply({ snapshot: snapshotOf(9n, 'nine') });
        const prepared = await prepareSnapshot(subject.instance, snapshotOf(8n, 'eight'));
        await rejectsWith('snapshot.older', () => subject.instance.apply({ snapshot: prepared }));
        await prepared.abort();
      }),
  },
  {
    name: 'a payload above the limit: refused by name',
    clauses: ['FAM-10'],
    run: (env) =>
      withSubject(env, async (subject) => {
        const { limits } = env.family;
        if (limits.noOpPayload) return;
        const list = [{ index: 1n, term: 1n, type: 1, payload: Buffer.from('x') }];
        await subject.refuses('limit.exceeded', { entries: { after: 0n, list } });
      }),
  },
];

/** Every ordered pair of mutations, with a reopen between them. */
import type { ConformanceCase, ConformanceEnv } from './conformance-env.ts';
import {
  entriesOf,
  snapshotOf,
  voteA,
  voteB,
  withSubject,
  type Subject,
} from './conformance-env.ts';
import { lastOf, type ModelMutation, type StateModel } from './state-model.ts';

/** One kind of mutation, made to fit whatever state it meets. */
export type Move = (model: StateModel) => ModelMutation;

const append = (count: bigint): Move => {
  return (model) => {
    const after = lastOf(model);
    return { entries: { after, list: entriesOf(after + 1n, after + count, model.meta.term) } };
  };
};

const middle = (model: StateModel): bigint => (model.firstIndex + lastOf(model)) / 2n;
const snapshotIndex = (model: StateModel): bigint => model.snapshot?.meta.lastIncludedIndex ?? 1n;

export const moves = {
  'append of one entry': append(1n),
  'append of several entries': append(7n),
  'prefix truncation in the middle': (model) => ({ truncate: { firstKept: middle(model) } }),
  'prefix truncation of all': (model) => ({ truncate: { firstKept: lastOf(model) + 1n } }),
  'prefix truncation beyond the end': (model) => ({ truncate: { firstKept: lastOf(model) + 9n } }),
  'suffix truncation in the middle': (model) => ({ truncate: { lastKept: middle(model) } }),
  'suffix truncation of all': (model) => ({ truncate: { lastKept: model.firstIndex - 1n } }),
  'reset within the log': (model) => ({ reset: middle(model) }),
  'reset below the log': () => ({ reset: 2n }),
  'reset beyond the log': (model) => ({ reset: lastOf(model) + 20n }),
  'higher term': (model) => ({ meta: { term: model.meta.term + 1n } }),
  'vote in a new term': (model) => ({ meta: { term: model.meta.term + 1n, votedFor: voteA } }),
  'vote in this term': (model) => ({ meta: { votedFor: model.meta.votedFor ?? voteB } }),
  'auxiliary set': (model) => ({
    meta: { auxiliary: new Map([['commit', Buffer.from(lastOf(model).toString())]]) },
  }),
  'auxiliary removed': () => ({ meta: { auxiliary: new Map([['commit', null]]) } }),
  'snapshot published': (model) => {
    const last = lastOf(model) > snapshotIndex(model) ? lastOf(model) : snapshotIndex(model) + 1n;
    return { snapshot: snapshotOf(last, `published at ${last}`) };
  },
  'snapshot replaced at the same index': (model) => {
    const index = snapshotIndex(model);
    return { snapshot: snapshotOf(index, `replaced at ${index}`) };
  },
  'append after a snapshot beyond the end': (model) => {
    const end = lastOf(model) > snapshotIndex(model) ? lastOf(model) : snapshotIndex(model);
    const after = end + 5n;
    const snapshot = snapshotOf(after, `beyond at ${after}`);
    return {
      snapshot,
      entries: { after, list: entriesOf(after + 1n, after + 3n, model.meta.term) },
    };
  },
  'truncate and append in one': (model) => {
    const lastKept = middle(model) > model.firstIndex ? middle(model) : model.firstIndex - 1n;
    const list = entriesOf(lastKept + 1n, lastKept + 2n, model.meta.term + 1n);
    const meta = { term: model.meta.term + 1n };
    return { truncate: { lastKept }, entries: { after: lastKept, list }, meta };
  },
} as const satisfies Readonly<Record<string, Move>>;

/** Fills the log again, so that each pair meets a log of several entries. */
async function refill(subject: Subject): Promise<void> {
  const { model } = subject;
  const reset = snapshotIndex(model) + 5n;
  const list = entriesOf(reset, reset + 11n, model.meta.term);
  await subject.apply({ reset, entries: { after: reset - 1n, list } });
}

function isOfPart({ part }: ConformanceEnv, position: number): boolean {
  return part === undefined || position % part.of === part.index;
}

function pairsBeginningWith(name: string, first: Move, position: number): ConformanceCase {
  return {
    name: `${name}, then a reopen, then each other mutation: the state is the model's`,
    clauses: ['LOG-1', 'LOG-2', 'LOG-4', 'LOG-7', 'FAM-7'],
    run: (env) =>
      withSubject(env, async (subject) => {
        for (const [i, second] of Object.values(moves).entries()) {
          if (!isOfPart(env, position + i)) continue;
          await refill(subject);
          await subject.apply(first(subject.model));
          await subject.reopen();
          await subject.apply(second(subject.model));
          await subject.check();
        }
      }),
  };
}

export const pairCases: readonly ConformanceCase[] = Object.entries(moves).map(
  ([name, move], position) => pairsBeginningWith(name, move, position),
);

/** Mutations that are stopped in the middle, and the states that LOG-1 allows to be left. */
import { appendOf, snapshotOf, voteA, voteB } from './conformance-env.ts';
import {
  applyToModel,
  emptyModel,
  lastOf,
  type ModelMutation,
  type StateModel,
} from './state-model.ts';

/** What every case begins with: several closed segments, the log's start inside one of them. */
export const history: readonly ModelMutation[] = [
  { ...appendOf(0n, 23, 2n), meta: { term: 2n, votedFor: voteA } },
  { snapshot: snapshotOf(9n, 'nine'), truncate: { firstKept: 8n } },
];

export function modelAfter(mutations: readonly ModelMutation[]): StateModel {
  return mutations.reduce(applyToModel, emptyModel);
}

/** Every state that LOG-1 allows after a crash: the prefixes of its order, the last the whole. */
export function allowedStates(model: StateModel, mutation: ModelMutation): StateModel[] {
  const states = [model];
  const step = (part: ModelMutation) => {
    states.push(applyToModel(states.at(-1) ?? model, part));
  };
  const { snapshot, reset, truncate, entries, meta } = mutation;
  if (snapshot) step({ snapshot });
  if (reset !== undefined) step({ reset });
  if (truncate) step({ truncate });
  // LOG-4: what follows a snapshot beyond the end moves the log there first.
  const follows = entries && entries.after > lastOf(states.at(-1) ?? model);
  if (follows) step({ reset: entries.after + 1n });
  if (meta && entries) step({ meta: { ...meta, auxiliary: new Map() } });
  for (const [i] of (entries?.list ?? []).entries()) {
    step({ entries: { after: entries?.after ?? 0n, list: entries?.list.slice(0, i + 1) ?? [] } });
  }
  if (meta) step({ meta });
  return states;
}

export const mutations: Readonly<Record<string, ModelMutation>> = {
  'an append over several segments, with term, vote and auxiliary': {
    ...appendOf(23n, 17, 3n),
    meta: { term: 3n, votedFor: voteB, auxiliary: new Map([['commit', Buffer.from([7])]]) },
  },
  'an append to the open segment': appendOf(23n, 1, 2n),
  'a suffix truncation over several segments, with an append': {
    truncate: { lastKept: 11n },
    ...appendOf(11n, 9, 3n),
    meta: { term: 3n },
  },
  'a suffix truncation within the open segment, with an append': {
    truncate: { lastKept: 21n },
    ...appendOf(21n, 2, 3n),
  },
  'a suffix truncation within the last closed segment': { truncate: { lastKept: 18n } },
  'a suffix truncation at the end of a segment': { truncate: { lastKept: 15n } },
  'a suffix truncation of everything': { truncate: { lastKept: 7n } },
  'a prefix truncation': { truncate: { firstKept: 17n } },
  'a prefix truncation of everything': { truncate: { firstKept: 24n } },
  'a prefix truncation beyond the end': { truncate: { firstKept: 40n } },
  'a reset above the end, with an append': { reset: 50n, ...appendOf(49n, 8, 3n) },
  'a reset within the log, with an append': { reset: 15n, ...appendOf(14n, 8, 3n) },
  'a reset below the log': { reset: 3n },
  'an install of a snapshot beyond the end': {
    snapshot: snapshotOf(30n, 'thirty'),
    reset: 31n,
    meta: { term: 4n },
  },
  'a newer snapshot with a prefix truncation': {
    snapshot: snapshotOf(16n, 'sixteen'),
    truncate: { firstKept: 17n },
  },
  'a snapshot of the same index': { snapshot: snapshotOf(9n, 'nine again') },
  'a vote alone': { meta: { term: 5n, votedFor: voteB } },
  'auxiliary alone': { meta: { auxiliary: new Map([['key', Buffer.from('value')]]) } },
};

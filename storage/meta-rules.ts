/**
 * LOG-6: how term, vote and auxiliary change. By default the term never falls, a vote within a term
 * never changes, and a higher term clears the vote. hashicorp/raft instead writes raw stable-store
 * keys one after the other; the derived vote follows them.
 */
import { fail } from '../core/errors.ts';
import type { Auxiliary, MetaUpdate, RaftMeta } from './contracts.ts';

/**
 * hashicorp/raft's stable-store keys (raft.go, `keyCurrentTerm` and its neighbours): u64
 * big-endian, u64, bytes.
 */
export const rawVoteKeys = {
  currentTerm: 'CurrentTerm',
  lastVoteTerm: 'LastVoteTerm',
  lastVoteCandidate: 'LastVoteCand',
} as const;

/** What an instance holds before its first save; braft's answer when `raft_meta` is absent. */
export const initialMeta: RaftMeta = { term: 1n, votedFor: null, auxiliary: new Map() };

/**
 * Null for braft's two spellings of "no vote": empty, and the ANY peer with or without idx and
 * role.
 */
export function normaliseVote(votedFor: Uint8Array | null): Uint8Array | null {
  if (votedFor === null || votedFor.length === 0) return null;
  return /^0\.0\.0\.0:0:0(:\d+)?$/.test(Buffer.from(votedFor).toString('latin1')) ? null : votedFor;
}

/**
 * The metadata after `update`.
 * @throws `meta.term-falls`, `meta.vote-changes`
 */
export function nextMeta(instance: string, stored: RaftMeta, update: MetaUpdate): RaftMeta {
  const auxiliary = mergeAuxiliary(stored, update);
  const rawKeys = Object.values(rawVoteKeys).some((key) => update.auxiliary?.has(key));
  const next = rawKeys
    ? derivedMeta(stored, update, auxiliary)
    : defaultMeta(instance, stored, update);
  if (next.term < stored.term) {
    throw fail('meta.term-falls', { instance, stored: stored.term, given: next.term });
  }
  return { ...next, auxiliary };
}

function mergeAuxiliary(stored: RaftMeta, update: MetaUpdate): Map<string, Uint8Array> {
  const merged = new Map(stored.auxiliary);
  for (const [key, value] of update.auxiliary ?? []) {
    if (value === null) merged.delete(key);
    else merged.set(key, value);
  }
  return merged;
}

type TermAndVote = Pick<RaftMeta, 'term' | 'votedFor'>;

function defaultMeta(instance: string, stored: RaftMeta, update: MetaUpdate): TermAndVote {
  const term = update.term ?? stored.term;
  if (update.votedFor === undefined) {
    return { term, votedFor: term > stored.term ? null : stored.votedFor };
  }
  const votedFor = normaliseVote(update.votedFor);
  const changes = stored.votedFor !== null && !sameVote(stored.votedFor, votedFor);
  if (term === stored.term && changes) {
    throw fail('meta.vote-changes', {
      instance,
      term,
      stored: voteText(stored.votedFor),
      given: voteText(votedFor),
    });
  }
  return { term, votedFor };
}

function derivedMeta(
  stored: RaftMeta,
  update: MetaUpdate,
  auxiliary: ReadonlyMap<string, Uint8Array>,
): TermAndVote {
  const currentTerm = derivedTerm(auxiliary.get(rawVoteKeys.currentTerm));
  const term = update.term ?? currentTerm ?? stored.term;
  let votedFor = term > stored.term ? null : stored.votedFor;
  if (update.auxiliary?.has(rawVoteKeys.lastVoteTerm)) votedFor = null;
  const candidate = update.auxiliary?.get(rawVoteKeys.lastVoteCandidate);
  const voteTerm = rawTerm(auxiliary.get(rawVoteKeys.lastVoteTerm));
  if (candidate !== undefined) votedFor = voteTerm === term ? normaliseVote(candidate) : null;
  // Told outright: a repair gives what was derived from several saves.
  if (update.votedFor !== undefined) votedFor = normaliseVote(update.votedFor);
  return { term, votedFor };
}

/** A new hashicorp node saves term 0 before its first election: braft's first term is derived. */
function derivedTerm(currentTerm: Uint8Array | undefined): bigint | undefined {
  const term = rawTerm(currentTerm);
  return term !== undefined && term < initialMeta.term ? initialMeta.term : term;
}

function rawTerm(bytes: Uint8Array | undefined): bigint | undefined {
  return bytes?.length === 8 ? Buffer.from(bytes).readBigUInt64BE() : undefined;
}

export function sameVote(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : Buffer.compare(a, b) === 0;
}

export function sameMeta(a: RaftMeta, b: RaftMeta): boolean {
  const { term, votedFor, auxiliary } = a;
  return term === b.term && sameVote(votedFor, b.votedFor) && sameAuxiliary(auxiliary, b.auxiliary);
}

export function sameAuxiliary(a: Auxiliary, b: Auxiliary): boolean {
  if (a.size !== b.size) return false;
  return [...a].every(([key, value]) => {
    const other = b.get(key);
    return other !== undefined && Buffer.compare(value, other) === 0;
  });
}

/** The vote for messages and JSON: its text, or "none". */
export function voteText(votedFor: Uint8Array | null): string {
  return votedFor === null ? 'none' : Buffer.from(votedFor).toString('utf8');
}

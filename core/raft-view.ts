/** What one member of a Raft group says of itself and its group. Pure. */

export type RaftRole = 'leader' | 'follower' | 'learner' | 'candidate' | 'unknown';

/** Indexes and terms: decimal strings (u64). */
export interface RaftView {
  readonly role: RaftRole;
  readonly term: string;
  /** Raft id of the leader it follows, itself included; null where it knows none. */
  readonly leader: string | null;
  readonly commitIndex: string;
  readonly appliedIndex: string;
  readonly lastIndex: string;
  /** The latest configuration that it has. */
  readonly members: readonly { readonly raftId: string; readonly voter: boolean }[];
  /** Whether that configuration is not committed yet. */
  readonly changePending: boolean;
}

/** What an agent can ask of its own member of a Raft group, however that is done. */
import type { ReplicaName } from '../../core/ids.ts';
import type { RaftView } from '../../core/raft-view.ts';

/** Each call answers, or fails, within 5 s. May be used by several callers at once. */
export interface MemberAdapter {
  /** @throws Error whose message says why there is no answer: "it did not answer within 4 s" */
  view(): Promise<RaftView>;
  /** Null: this member cannot be told. */
  readonly transferLeadership: TransferLeadership | null;
}

/**
 * Tells the leader, this member, to hand over to the member of raft id `to`. Resolves once it was
 * told, be it done by then or not. @throws Error whose message says why it was not told
 */
export type TransferLeadership = (to: string) => Promise<void>;

/** Null: nothing says how this member is asked. */
export type MemberAdapters = (replica: ReplicaName) => MemberAdapter | null;

/** Who moves the replicas of a live cluster, and what of it can be killed. */
import type { KvCluster } from '../go/kv-cluster.ts';
import type { ReplicaView } from './live-replica.ts';
import type { QuietMoments } from './quiet-moments.ts';

/** Something that can be killed. */
export interface Victim {
  readonly kind: string;
  readonly name: string;
  /** kill -9; started again when it resolves with true; false when there was nothing to kill. */
  kill(): Promise<boolean>;
}

/** A replica that moves from family to family while it serves. */
export interface MovedReplica {
  readonly name: string;
  /** Migrations that ended on their target, that were rolled back, and mirrors that were left. */
  readonly ended: { finalized: number; rolledBack: number; detached: number };
  /** Until `isOver`; what is under way then is ended. */
  migrate(isOver: () => boolean): Promise<void>;
  /** As its host shows it; null while no host answers. */
  view(): Promise<ReplicaView | null>;
}

export interface Movement {
  readonly replicas: readonly MovedReplica[];
  /** Besides the cluster's nodes and hosts. */
  readonly victims: readonly Victim[];
  close(): Promise<void>;
}

export interface MovementOptions {
  readonly cluster: KvCluster;
  /** "n1", … */
  readonly nodes: readonly string[];
  readonly quiet: QuietMoments;
  readonly seed: number;
  readonly log: (line: string) => void;
}

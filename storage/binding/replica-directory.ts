/** Where the state directory keeps what it knows of a replica (design.md, "Dual write"). */
import { join } from 'node:path';

import type { ReplicaName } from '../../core/ids.ts';

export interface ReplicaDirectory {
  readonly root: string;
  readonly record: string;
  /** The record's next state, written before it: what a damaged record is restored from. */
  readonly recordCopy: string;
  readonly journal: string;
  /** Held by the process that writes to the replica's instances. */
  readonly lock: string;
  /** Of client sessions: raised by each opening (CUT-3). */
  readonly epoch: string;
  /** Up to where everything was acknowledged (DUAL-5). */
  readonly watermark: string;
  /** Held briefly for each change of the record and each exchange of paths. */
  readonly recordLock: string;
  /** Pause and rate limit for bulk work; advisory, read again and again by what is running. */
  readonly control: string;
  /** Process groups of hooks. */
  readonly hooks: string;
  readonly proofs: string;
  /** The attempt that runs, or ran last: its Temporal task token. */
  readonly attempt: string;
}

export function replicaDirectory(stateDir: string, replica: ReplicaName): ReplicaDirectory {
  const root = join(stateDir, 'replicas', replica.cluster, replica.member);
  return {
    root,
    record: join(root, 'binding.json'),
    recordCopy: join(root, 'binding.copy.json'),
    journal: join(root, 'journal.jsonl'),
    lock: join(root, 'lock'),
    epoch: join(root, 'epoch'),
    watermark: join(root, 'watermark'),
    recordLock: join(root, 'record.lock'),
    control: join(root, 'control.json'),
    hooks: join(root, 'hooks.json'),
    proofs: join(root, 'proofs'),
    attempt: join(root, 'attempt'),
  };
}

/** The protocol's calls (host/proto/storage_host.proto), each handed to its replica. */
import { fail } from '../core/errors.ts';
import { replicaText, type ReplicaName } from '../core/ids.ts';
import { canonicalBytes } from '../storage/entry-batch.ts';
import { answer, answered, streamed } from './answers.ts';
import type { HostActivity } from './host-activity.ts';
import {
  mutationOf,
  openerOf,
  protocolMajor,
  protocolMinor,
  replicaOf,
  stateMessage,
} from './messages.ts';
import type { StorageHostServer } from './proto/gen/storage_host.ts';
import type { ServedReplica } from './served-replica.ts';
import { readSnapshot, send, writeSnapshot } from './snapshot-streams.ts';
import { serveWrites, sessionWindowBytes } from './write-stream.ts';

/** Canonical entries of one mutation; hashicorp/raft recommends to stay far below. */
export const maxWriteBytes = 64 * 1024 * 1024;

export type ServedReplicas = ReadonlyMap<string, ServedReplica | Error>;

export interface HostCallsOptions {
  readonly replicas: ServedReplicas;
  readonly activity: HostActivity;
  /** How long a client may let a snapshot's stream stand still. */
  readonly idleMs: number;
}

export function storageHostCalls(options: HostCallsOptions): StorageHostServer {
  const { replicas, activity, idleMs } = options;
  const find = (replica: ReplicaName) => findReplica(replicas, replica);
  return {
    describe: answered(async () => ({
      protocolMajor,
      protocolMinor,
      replicas: [...replicas.keys()].map(nameOf),
      maxWriteBytes: BigInt(maxWriteBytes),
      windowBytes: BigInt(sessionWindowBytes),
    })),
    open: answered(async (request) => {
      const opener = openerOf(request);
      const { epoch, state, lastTerm } = await find(replicaOf(request.replica)).open(opener);
      return { epoch, state: stateMessage(state, lastTerm) };
    }),
    getState: answered(async (request) => {
      const { state, lastTerm } = await find(replicaOf(request.replica)).state();
      return stateMessage(state, lastTerm);
    }),
    writeOne: answered(async ({ replica, epoch, sequence, mutation }) => {
      await find(replicaOf(replica)).apply(epoch, mutationOf(mutation));
      return { sequence };
    }),
    write: (call) => {
      void activity.duringWrites(() => serveWrites(call, find));
    },
    read: streamed(async (call) => {
      const { replica, first, last } = call.request;
      for await (const batch of find(replicaOf(replica)).read(first, last)) {
        if (call.cancelled) return;
        await send(call, { first: batch.firstIndex, canonical: canonicalBytes(batch) });
      }
    }),
    writeSnapshot: (call, callback) => {
      void answer(callback, () =>
        activity.duringSnapshot(() => writeSnapshot(call, { find, idleMs })),
      );
    },
    readSnapshot: streamed((call) =>
      activity.duringSnapshot(() => readSnapshot(call, { find, idleMs })),
    ),
  };
}

/** @throws `session.unknown-replica`, or why this one cannot be served */
export function findReplica(replicas: ServedReplicas, replica: ReplicaName): ServedReplica {
  const found = replicas.get(replicaText(replica));
  if (found instanceof Error) throw found;
  if (found !== undefined) return found;
  const served = [...replicas.keys()].join(', ') || 'none';
  throw fail('session.unknown-replica', { replica: replicaText(replica), served });
}

function nameOf(text: string): ReplicaName {
  const [cluster = '', member = ''] = text.split('/');
  return { cluster, member };
}

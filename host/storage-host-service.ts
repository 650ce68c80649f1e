/** The protocol's calls (host/proto/storage_host.proto), each handed to its replica. */
import type { sendUnaryData, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';

import { fail } from '../core/errors.ts';
import { replicaText, type ReplicaName } from '../core/ids.ts';
import { canonicalBytes } from '../storage/entry-batch.ts';
import { grpcError } from './grpc-errors.ts';
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

export function storageHostService(replicas: ServedReplicas): StorageHostServer {
  const find = (replica: ReplicaName) => findReplica(replicas, replica);
  return {
    describe: unary(async () => ({
      protocolMajor,
      protocolMinor,
      replicas: [...replicas.keys()].map(nameOf),
      maxWriteBytes: BigInt(maxWriteBytes),
      windowBytes: BigInt(sessionWindowBytes),
    })),
    open: unary(async (request) => {
      const opener = openerOf(request);
      const { epoch, state, lastTerm } = await find(replicaOf(request.replica)).open(opener);
      return { epoch, state: stateMessage(state, lastTerm) };
    }),
    getState: unary(async (request) => {
      const { state, lastTerm } = await find(replicaOf(request.replica)).state();
      return stateMessage(state, lastTerm);
    }),
    writeOne: unary(async ({ replica, epoch, sequence, mutation }) => {
      await find(replicaOf(replica)).apply(epoch, mutationOf(mutation));
      return { sequence };
    }),
    write: (call) => {
      void serveWrites(call, find);
    },
    read: streaming(async (call) => {
      const { replica, first, last } = call.request;
      for await (const batch of find(replicaOf(replica)).read(first, last)) {
        if (call.cancelled) return;
        await send(call, { first: batch.firstIndex, canonical: canonicalBytes(batch) });
      }
    }),
    writeSnapshot: (call, callback) => answer(callback, () => writeSnapshot(call, find)),
    readSnapshot: streaming((call) => readSnapshot(call, find)),
  };
}

/** @throws `session.unknown-replica`, or why this one cannot be served */
function findReplica(replicas: ServedReplicas, replica: ReplicaName): ServedReplica {
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

function unary<Request, Response>(handle: (request: Request) => Promise<Response>) {
  return (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>): void =>
    answer(callback, () => handle(call.request));
}

function answer<Response>(
  callback: sendUnaryData<Response>,
  handle: () => Promise<Response>,
): void {
  handle().then(
    (response) => callback(null, response),
    (error: unknown) => callback(grpcError(error)),
  );
}

function streaming<Request, Response>(
  handle: (call: ServerWritableStream<Request, Response>) => Promise<void>,
) {
  return (call: ServerWritableStream<Request, Response>): void => {
    handle(call).then(
      () => call.end(),
      (error: unknown) => call.emit('error', grpcError(error)),
    );
  };
}

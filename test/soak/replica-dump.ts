/** The whole state of a replica as its client reads it, and mutations as it sends them. */
import type { ServiceError } from '@grpc/grpc-js';

import type {
  Mutation,
  ReadSnapshotResponse,
  StorageHostClient,
  WriteSnapshotRequest,
} from '../../host/proto/gen/storage_host.ts';
import { batchOf, canonicalBytes } from '../../storage/entry-batch.ts';
import { byPathBytes } from '../../storage/snapshot-path.ts';
import {
  dumpEntry,
  dumpFile,
  dumpMeta,
  dumpSnapshotMeta,
  type StateDump,
} from '../../storage/testing/state-dump.ts';
import type { ModelMutation, ModelSnapshot } from '../../storage/testing/state-model.ts';
import { readEntries, replica, stateOf } from '../host/host-session.ts';

export async function dumpReplica(client: StorageHostClient, member: string): Promise<StateDump> {
  const { firstIndex, lastIndex, metadata } = await stateOf(client, member);
  const entries =
    lastIndex < firstIndex
      ? []
      : await readEntries(client, member, { first: firstIndex, last: lastIndex });
  const { term = 0n, votedFor, auxiliary = new Map<string, Buffer>() } = metadata ?? {};
  return {
    firstIndex,
    lastIndex,
    entries: entries.map(dumpEntry),
    meta: dumpMeta({ term, votedFor: votedFor ?? null, auxiliary }),
    snapshot: await dumpSnapshot(client, member),
  };
}

async function dumpSnapshot(
  client: StorageHostClient,
  member: string,
): Promise<StateDump['snapshot']> {
  let meta = '';
  const files: { path: string; userMeta: Buffer | null; pieces: Buffer[] }[] = [];
  const call = client.readSnapshot({ replica: replica(member) });
  for await (const { part } of call as AsyncIterable<ReadSnapshotResponse>) {
    if (part?.$case === 'metadata') meta = dumpSnapshotMeta(part.value);
    if (part?.$case === 'bytes') files.at(-1)?.pieces.push(part.value);
    if (part?.$case !== 'file') continue;
    const { path, userMetadata } = part.value;
    files.push({ path, userMeta: userMetadata ?? null, pieces: [] });
  }
  if (meta === '') return null;
  const sorted = files.toSorted(byPathBytes);
  return { meta, files: sorted.map((file) => dumpFile(file, Buffer.concat(file.pieces))) };
}

export function mutationMessage(mutation: ModelMutation): Mutation {
  const { reset, truncate, entries, meta } = mutation;
  return {
    ...(reset !== undefined && { reset }),
    truncate: truncateMessage(truncate),
    entries: entries && {
      after: entries.after,
      canonical: canonicalBytes(batchOf(entries.list)),
    },
    metadata: meta && {
      ...(meta.term !== undefined && { term: meta.term }),
      ...(meta.votedFor !== undefined && { votedFor: Buffer.from(meta.votedFor ?? []) }),
      ...auxiliaryMessage(meta.auxiliary ?? new Map()),
    },
  };
}

function truncateMessage(truncate: ModelMutation['truncate']): Mutation['truncate'] {
  if (truncate === undefined) return undefined;
  return 'firstKept' in truncate
    ? { $case: 'firstKept', value: truncate.firstKept }
    : { $case: 'lastKept', value: truncate.lastKept };
}

function auxiliaryMessage(changes: ReadonlyMap<string, Uint8Array | null>) {
  const setAuxiliary = new Map<string, Buffer>();
  const removeAuxiliary: string[] = [];
  for (const [key, value] of changes) {
    if (value === null) removeAuxiliary.push(key);
    else setAuxiliary.set(key, Buffer.from(value));
  }
  return { setAuxiliary, removeAuxiliary };
}

export interface SnapshotMessage {
  readonly member: string;
  readonly epoch: bigint;
  readonly snapshot: ModelSnapshot;
  /** What changes with it; null: nothing. */
  readonly mutation: Mutation | null;
}

/** Resolves when it is published. */
export function sendSnapshot(client: StorageHostClient, given: SnapshotMessage): Promise<void> {
  const { member, epoch, snapshot, mutation } = given;
  const { meta, files } = snapshot;
  return new Promise((resolve, reject) => {
    const call = client.writeSnapshot((error: ServiceError | null) => {
      if (error === null) resolve();
      else reject(error);
    });
    // The answer says it too.
    call.on('error', () => {});
    const metadata = {
      ...meta,
      peers: [...meta.peers],
      oldPeers: [...meta.oldPeers],
      auxiliary: new Map([...meta.auxiliary].map(([key, value]) => [key, Buffer.from(value)])),
    };
    const send = (part: NonNullable<WriteSnapshotRequest['part']>) => call.write({ part });
    send({ $case: 'begin', value: { replica: replica(member), epoch, metadata } });
    for (const { path, content, userMeta } of files) {
      const userMetadata = userMeta === null ? {} : { userMetadata: Buffer.from(userMeta) };
      send({ $case: 'file', value: { path, bytes: 0n, ...userMetadata } });
      send({ $case: 'bytes', value: Buffer.from(content) });
    }
    send({ $case: 'end', value: { sequence: 1n, mutation: mutation ?? undefined } });
    call.end();
  });
}

/** Snapshots as streams: whole at their end, or nothing. */
import { once } from 'node:events';
import type { Writable } from 'node:stream';

import type { ServerReadableStream, ServerWritableStream } from '@grpc/grpc-js';

import { hasCode, QuorumshiftError } from '../core/errors.ts';
import { SnapshotPipe } from '../storage/image/snapshot-pipe.ts';
import { incoming, inTime } from './incoming.ts';
import {
  fileMessage,
  invalidRequest,
  mutationOf,
  replicaOf,
  snapshotMessage,
  snapshotMetaOf,
} from './messages.ts';
import type {
  ReadSnapshotRequest,
  ReadSnapshotResponse,
  SnapshotEnd,
  WriteResponse,
  WriteSnapshotRequest,
} from './proto/gen/storage_host.ts';
import type { ServedReplica } from './served-replica.ts';
import type { FindReplica } from './write-stream.ts';

/** Where a snapshot that is being written goes. */
interface Writing {
  readonly served: ServedReplica;
  readonly epoch: bigint;
  readonly pipe: SnapshotPipe;
  hasFile: boolean;
}

export interface SnapshotCalls {
  readonly find: FindReplica;
  /** How long a client may let a stream stand still. */
  readonly idleMs: number;
}

/**
 * @throws what beginning, writing or publishing it throws, `session.stream-idle`; nothing of it is
 *   seen then
 */
export async function writeSnapshot(
  call: ServerReadableStream<WriteSnapshotRequest, WriteResponse>,
  { find, idleMs }: SnapshotCalls,
): Promise<WriteResponse> {
  let writing: Writing | null = null;
  try {
    for await (const { part } of incoming(call, partBytes, idleMs)) {
      writing?.served.requireAdmitted(writing.epoch);
      if (part === undefined) throw invalidRequest('a part of a snapshot must be of a known kind');
      if (part.$case === 'begin') {
        if (writing !== null) throw invalidRequest('a snapshot begins once');
        const { replica, epoch, metadata } = part.value;
        const served = find(replicaOf(replica));
        const writer = await served.beginSnapshot(epoch, snapshotMetaOf(metadata));
        writing = { served, epoch, pipe: new SnapshotPipe(writer), hasFile: false };
        continue;
      }
      if (writing === null) throw invalidRequest('a snapshot must begin with its metadata');
      if (part.$case === 'end') return await publish(writing, part.value);
      if (part.$case === 'bytes') {
        if (!writing.hasFile) throw invalidRequest('bytes must follow the file that they are of');
        await writing.pipe.push(part.value);
        continue;
      }
      const { userMetadata: userMeta = null, ...file } = part.value;
      await writing.pipe.begin({ ...file, bytes: 0, userMeta });
      writing.hasFile = true;
    }
    throw invalidRequest('a snapshot must have an end: the stream ended before it');
  } catch (error) {
    await writing?.pipe.abandon();
    throw error;
  }
}

/** Of the one part that may be large. */
function partBytes({ part }: WriteSnapshotRequest): number {
  return part?.$case === 'bytes' ? part.value.length : 0;
}

async function publish(
  { served, epoch, pipe }: Writing,
  { sequence, mutation }: SnapshotEnd,
): Promise<WriteResponse> {
  const rest = mutation === undefined ? {} : mutationOf(mutation);
  const snapshot = await pipe.prepare();
  try {
    await served.apply(epoch, { ...rest, snapshot });
  } catch (error) {
    // Of a failure whose outcome is unknown, opening again decides.
    if (isRefusal(error) && !served.isPoisoned) await snapshot.abort();
    throw error;
  }
  return { sequence };
}

/** Of what is refused before its first effect nothing else is waiting for the snapshot. */
function isRefusal(error: unknown): boolean {
  if (hasCode(error, 'session.fenced')) return true;
  return error instanceof QuorumshiftError && /^(snapshot|log|meta|limit)\./.test(error.code);
}

/** Sends the latest snapshot; an empty stream when there is none. */
export async function readSnapshot(
  call: ServerWritableStream<ReadSnapshotRequest, ReadSnapshotResponse>,
  { find, idleMs }: SnapshotCalls,
): Promise<void> {
  const reader = await find(replicaOf(call.request.replica)).latestSnapshot();
  if (reader === null) return;
  try {
    const metadata = snapshotMessage(reader.meta);
    await send(call, { part: { $case: 'metadata', value: metadata } }, idleMs);
    for (const file of reader.files) {
      await send(call, { part: { $case: 'file', value: fileMessage(file) } }, idleMs);
      for await (const value of reader.read(file.path)) {
        if (call.cancelled) return;
        await send(call, { part: { $case: 'bytes', value } }, idleMs);
      }
    }
  } finally {
    await reader.close();
  }
}

/** What of a call takes messages. */
interface Taker<Message> extends Writable {
  readonly cancelled: boolean;
  write(message: Message): boolean;
}

/**
 * Writes one message, and waits while the client has not taken what came before.
 * @param idleMs how long; null: for ever
 * @throws `session.stream-idle`
 */
export async function send<Message>(
  call: Taker<Message>,
  message: Message,
  idleMs: number | null = null,
): Promise<void> {
  if (call.write(message) || call.cancelled) return;
  const awaited = new AbortController();
  const { signal } = awaited;
  try {
    const taken = [once(call, 'drain', { signal }), once(call, 'cancelled', { signal })];
    await inTime(Promise.race(taken), idleMs);
  } finally {
    // Takes their listeners away: a slow client would gather them.
    awaited.abort();
  }
}

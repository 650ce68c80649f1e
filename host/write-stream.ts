/**
 * The stream of a session's mutations: taken as they come, answered in order after each is durable.
 * A window bounds what is unanswered: beyond it nothing more is read, and the client's sends wait.
 */
import type { ServerDuplexStream } from '@grpc/grpc-js';

import type { ReplicaName } from '../core/ids.ts';
import { Pipeline } from '../storage/replication/group-commit.ts';
import { grpcError } from './grpc-errors.ts';
import { incoming } from './incoming.ts';
import { invalidRequest, mutationOf, replicaOf } from './messages.ts';
import type { WriteRequest, WriteResponse } from './proto/gen/storage_host.ts';
import type { ServedReplica } from './served-replica.ts';

export type FindReplica = (replica: ReplicaName) => ServedReplica;

/** What a session may have unanswered, in bytes; one larger mutation is let through. */
export const sessionWindowBytes = 8 * 1024 * 1024;
/** Of the smallest request, until it is answered: about what it holds in memory. */
const requestBytes = 256;

type WriteCall = ServerDuplexStream<WriteRequest, WriteResponse>;

export async function serveWrites(call: WriteCall, find: FindReplica): Promise<void> {
  const session = new WriteSession(call, find);
  try {
    for await (const request of incoming(call, bytesOf)) {
      if (!(await session.take(request))) return;
    }
    await session.end();
  } catch (error) {
    session.fail(error);
  }
}

function bytesOf({ mutation }: WriteRequest): number {
  const { entries, metadata } = mutation ?? {};
  let bytes = requestBytes + (entries?.canonical.length ?? 0) + (metadata?.votedFor?.length ?? 0);
  for (const [key, value] of metadata?.setAuxiliary ?? []) bytes += key.length + value.length;
  for (const key of metadata?.removeAuxiliary ?? []) bytes += key.length;
  return bytes;
}

class WriteSession {
  readonly #call: WriteCall;
  readonly #find: FindReplica;
  readonly #pipeline = new Pipeline();
  #unanswered = 0;
  #lastSequence = 0n;
  #hasFailed = false;
  /** Whether a request was refused before it came to its replica: none after it is taken. */
  #hasRefused = false;
  #answered: Promise<void> = Promise.resolve();
  #room: (() => void) | null = null;

  constructor(call: WriteCall, find: FindReplica) {
    this.#call = call;
    this.#find = find;
  }

  /** Gives one request to its replica; false once the stream has failed. */
  async take(request: WriteRequest): Promise<boolean> {
    const bytes = bytesOf(request);
    while (this.#unanswered > 0 && this.#unanswered + bytes > sessionWindowBytes) {
      await new Promise<void>((resolve) => (this.#room = resolve));
    }
    if (this.#hasFailed || this.#hasRefused) return false;
    const applied = this.#apply(request);
    // Looked at in its turn; until then a refusal must not count as one that nobody handles.
    applied.catch(() => {});
    this.#unanswered += bytes;
    const before = this.#answered;
    this.#answered = before.then(async () => {
      await this.#answer(request.sequence, applied);
      this.#unanswered -= bytes;
      this.#room?.();
      this.#room = null;
    });
    return true;
  }

  async end(): Promise<void> {
    await this.#answered;
    if (!this.#hasFailed) this.#call.end();
  }

  fail(error: unknown): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    // What is refused before it reaches the replica ends the pipeline too.
    this.#pipeline.failure ??= { error };
    this.#call.emit('error', grpcError(error));
  }

  /** A refusal before its turn is told in its turn; nothing after it is taken. */
  #apply(request: WriteRequest): Promise<void> {
    try {
      return this.#give(request);
    } catch (error) {
      this.#hasRefused = true;
      return Promise.reject(error);
    }
  }

  #give({ replica, epoch, sequence, mutation }: WriteRequest): Promise<void> {
    if (sequence <= this.#lastSequence) {
      throw invalidRequest(`sequence must rise: ${sequence} follows ${this.#lastSequence}`);
    }
    this.#lastSequence = sequence;
    const served = this.#find(replicaOf(replica));
    return served.apply(epoch, mutationOf(mutation), this.#pipeline);
  }

  async #answer(sequence: bigint, applied: Promise<void>): Promise<void> {
    try {
      await applied;
      if (!this.#hasFailed) this.#call.write({ sequence });
    } catch (error) {
      this.fail(error);
    }
  }
}

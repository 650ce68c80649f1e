/** One session of a replica, as a Raft library would use it. */
import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js';

import { codeKey } from '../../host/grpc-errors.ts';
import type {
  Mutation,
  OpenResponse,
  ReadResponse,
  ReplicaState,
  StorageHostClient,
  WriteRequest,
  WriteResponse,
  WriteSnapshotRequest,
} from '../../host/proto/gen/storage_host.ts';
import {
  batchOf,
  canonicalBytes,
  entryAt,
  parseCanonicalRun,
  type LogEntry,
} from '../../storage/entry-batch.ts';

export const replica = (member: string) => ({ cluster: 'kv', member });

/** A unary call as a promise. */
export function called<Response>(
  call: (answer: (error: ServiceError | null, response: Response) => void) => unknown,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    call((error, response) => (error === null ? resolve(response) : reject(error)));
  });
}

export function codeOf(error: unknown): string {
  const metadata = (error as ServiceError).metadata;
  return String(metadata.get(codeKey)[0] ?? `none: ${String(error)}`);
}

export function appendMessage(after: bigint, list: readonly LogEntry[]): Mutation {
  const canonical = canonicalBytes(batchOf(list));
  return { truncate: undefined, entries: { after, canonical }, metadata: undefined };
}

export function openReplica(
  client: StorageHostClient,
  member: string,
  { opener = '', resumes = 0n } = {},
): Promise<OpenResponse> {
  const request = { replica: replica(member), client: 'test', protocolMajor: 1, opener, resumes };
  return called<OpenResponse>((answer) => client.open(request, answer));
}

export function stateOf(client: StorageHostClient, member: string): Promise<ReplicaState> {
  return called<ReplicaState>((answer) => client.getState({ replica: replica(member) }, answer));
}

export async function readEntries(
  client: StorageHostClient,
  member: string,
  range: { first: bigint; last: bigint },
): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  const call = client.read({ replica: replica(member), ...range });
  for await (const { first, canonical } of call as AsyncIterable<ReadResponse>) {
    const batch = parseCanonicalRun(canonical, first);
    for (let i = 0; i < batch.count; i += 1) entries.push(entryAt(batch, i));
  }
  return entries;
}

/** A snapshot that has begun, with one file; and how its stream ends. */
export function beginSnapshot(client: StorageHostClient, member: string, epoch: bigint) {
  let ended: (code: string) => void = () => {};
  const end = new Promise<string>((resolve) => (ended = resolve));
  const call = client.writeSnapshot((error: ServiceError | null, response: WriteResponse) => {
    ended(error === null ? `published as ${response.sequence}` : codeOf(error));
  });
  // Writing to a stream that the host has ended fails; how it ended is what counts.
  call.on('error', () => {});
  const give = (part: WriteSnapshotRequest['part']) => call.write({ part });
  const metadata = {
    lastIncludedIndex: 3n,
    lastIncludedTerm: 1n,
    peers: [],
    oldPeers: [],
    auxiliary: new Map<string, Buffer>(),
  };
  give({ $case: 'begin', value: { replica: replica(member), epoch, metadata } });
  give({ $case: 'file', value: { path: 'data', bytes: 0n } });
  give({ $case: 'bytes', value: Buffer.alloc(1024, 7) });
  return { call, end, give };
}

/** A write stream with everything that it was told. */
export class WriteStream {
  readonly acknowledged: bigint[] = [];
  readonly ended: Promise<ServiceError | null>;
  readonly #call: ClientDuplexStream<WriteRequest, WriteResponse>;
  readonly #member: string;
  readonly #epoch: bigint;
  readonly #waiting: { sequence: bigint; done: () => void }[] = [];
  readonly #failed: Promise<never>;
  #sequence = 0n;

  constructor(client: StorageHostClient, member: string, epoch: bigint) {
    this.#member = member;
    this.#epoch = epoch;
    this.#call = client.write();
    this.#call.on('data', ({ sequence }: WriteResponse) => {
      this.acknowledged.push(sequence);
      while (this.#waiting[0] && this.#waiting[0].sequence <= sequence)
        this.#waiting.shift()?.done();
    });
    this.ended = new Promise((resolve) => {
      this.#call.once('error', (error: ServiceError) => resolve(error));
      this.#call.once('end', () => resolve(null));
    });
    this.#failed = this.ended.then((error) => {
      throw error ?? new Error('the stream ended');
    });
    // Nobody may be waiting.
    this.#failed.catch(() => {});
  }

  /** Sends without waiting; its sequence. */
  send(mutation: Mutation): bigint {
    this.#sequence += 1n;
    const sequence = this.#sequence;
    const epoch = this.#epoch;
    this.#call.write({ replica: replica(this.#member), epoch, sequence, mutation });
    return sequence;
  }

  /** Resolves once `sequence` is acknowledged; rejects when the stream ends before. */
  async until(sequence: bigint): Promise<void> {
    if ((this.acknowledged.at(-1) ?? 0n) >= sequence) return;
    const done = new Promise<void>((resolve) => {
      this.#waiting.push({ sequence, done: resolve });
    });
    await Promise.race([done, this.#failed]);
  }

  async end(): Promise<ServiceError | null> {
    this.#call.end();
    return this.ended;
  }
}

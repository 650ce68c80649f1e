/** The protocol's messages to the storage contract and back; what does not fit is refused here. */
import { fail } from '../core/errors.ts';
import type { ReplicaName } from '../core/ids.ts';
import { replicaNameSchema } from '../schemas/migration.ts';
import type {
  DurableState,
  MetaUpdate,
  Mutation,
  SnapshotFile,
  SnapshotMeta,
} from '../storage/contracts.ts';
import { parseCanonicalRun, termAt, type EntryBatch } from '../storage/entry-batch.ts';
import type {
  Entries,
  Metadata,
  MetadataUpdate,
  Mutation as MutationMessage,
  OpenRequest,
  ReplicaName as ReplicaNameMessage,
  ReplicaState,
  SnapshotFile as SnapshotFileMessage,
  SnapshotMetadata,
} from './proto/gen/storage_host.ts';
import type { SessionOpener } from './served-replica.ts';

export const protocolMajor = 1;
/** 1: an opener names itself, and may resume. */
export const protocolMinor = 1;

const maxIndex = 2n ** 63n - 2n;

export function invalidRequest(reason: string): Error {
  return fail('session.invalid-request', { reason });
}

/** @throws `session.invalid-request` */
export function replicaOf(message: ReplicaNameMessage | undefined): ReplicaName {
  const parsed = replicaNameSchema.safeParse(message);
  if (parsed.success) return parsed.data;
  throw invalidRequest('it must name a replica: cluster and member, 1 to 64 of A-Z a-z 0-9 . _ -');
}

/** @throws `session.invalid-request` */
export function openerOf({ protocolMajor: spoken, opener, resumes }: OpenRequest): SessionOpener {
  if (spoken !== protocolMajor) {
    const speaks = `this host speaks protocol ${protocolMajor}`;
    throw invalidRequest(`${speaks}: the client speaks ${spoken}`);
  }
  if (!/^[A-Za-z0-9._-]{0,64}$/.test(opener)) {
    throw invalidRequest('opener must have 1 to 64 of A-Z a-z 0-9 . _ -');
  }
  if (resumes > 0n && opener === '') throw invalidRequest('who resumes a session must name itself');
  return { opener, resumes };
}

/** @throws `session.invalid-request`, `log.invalid-batch` */
export function mutationOf(message: MutationMessage | undefined): Omit<Mutation, 'snapshot'> {
  if (message === undefined) throw invalidRequest('it must hold a mutation');
  const { reset, truncate, entries, metadata } = message;
  const mutation = {
    ...(reset !== undefined && { reset }),
    ...(truncate?.$case === 'firstKept' && { truncate: { firstKept: truncate.value } }),
    ...(truncate?.$case === 'lastKept' && { truncate: { lastKept: truncate.value } }),
    ...(entries !== undefined && { entries: entriesOf(entries) }),
    ...(metadata !== undefined && { meta: metaUpdateOf(metadata) }),
  };
  if (Object.keys(mutation).length === 0)
    throw invalidRequest('its mutation must change something');
  return mutation;
}

function entriesOf({ after, canonical }: Entries): NonNullable<Mutation['entries']> {
  const batch = parseCanonicalRun(canonical, after + 1n);
  if (batch.count === 0) throw invalidRequest('entries must hold at least one entry');
  requireRisingTerms(batch);
  return { after, batches: [batch] };
}

/** I5, from term 0 on. */
function requireRisingTerms(batch: EntryBatch): void {
  let before = 0n;
  for (let i = 0; i < batch.count; i += 1) {
    const term = termAt(batch, i);
    if (term < before) {
      const at = `at index ${batch.firstIndex + BigInt(i)} from ${before} to ${term}`;
      throw invalidRequest(`terms must not fall along the log: ${at}`);
    }
    before = term;
  }
}

function metaUpdateOf(message: MetadataUpdate): MetaUpdate {
  const { term, votedFor, setAuxiliary, removeAuxiliary } = message;
  const auxiliary = new Map<string, Uint8Array | null>(setAuxiliary);
  for (const key of removeAuxiliary) {
    if (auxiliary.has(key)) throw invalidRequest(`auxiliary "${key}" is both set and removed`);
    auxiliary.set(key, null);
  }
  return {
    ...(term !== undefined && { term }),
    ...(votedFor !== undefined && { votedFor: votedFor.length === 0 ? null : votedFor }),
    ...(auxiliary.size > 0 && { auxiliary }),
  };
}

export function stateMessage(state: DurableState, lastTerm: bigint): ReplicaState {
  const { firstIndex, lastIndex, meta, snapshot } = state;
  const { term, votedFor, auxiliary } = meta;
  const metadata: Metadata = {
    term,
    ...(votedFor !== null && { votedFor: Buffer.from(votedFor) }),
    auxiliary: buffers(auxiliary),
  };
  return {
    firstIndex,
    lastIndex,
    lastTerm,
    metadata,
    snapshot: snapshot === null ? undefined : snapshotMessage(snapshot),
  };
}

export function snapshotMessage(meta: SnapshotMeta): SnapshotMetadata {
  const { lastIncludedIndex, lastIncludedTerm, peers, oldPeers, auxiliary } = meta;
  return {
    lastIncludedIndex,
    lastIncludedTerm,
    peers: [...peers],
    oldPeers: [...oldPeers],
    auxiliary: buffers(auxiliary),
  };
}

/** @throws `session.invalid-request` */
export function snapshotMetaOf(message: SnapshotMetadata | undefined): SnapshotMeta {
  if (message === undefined) throw invalidRequest('a snapshot must begin with its metadata');
  const { lastIncludedIndex, lastIncludedTerm } = message;
  // The index after it is an i64 too.
  if (lastIncludedIndex < 0n || lastIncludedIndex >= maxIndex || lastIncludedTerm < 0n) {
    const given = `index ${lastIncludedIndex} of term ${lastIncludedTerm}`;
    throw invalidRequest(`a snapshot must end within 0..${maxIndex - 1n}: it ends at ${given}`);
  }
  return message;
}

export function fileMessage({ path, bytes, userMeta }: SnapshotFile): SnapshotFileMessage {
  return {
    path,
    bytes: BigInt(bytes),
    ...(userMeta !== null && { userMetadata: Buffer.from(userMeta) }),
  };
}

function buffers(values: ReadonlyMap<string, Uint8Array>): Map<string, Buffer> {
  return new Map([...values].map(([key, value]) => [key, Buffer.from(value)]));
}

/**
 * Whose a replica is. Taking or adopting it raises the lease, durably; whoever held an older one
 * is `superseded` from then on and changes nothing (I13). What the owner may do under its lease is
 * `step-guard.ts`.
 */
import { assert, fail, type QuorumshiftError } from '../../core/errors.ts';
import { firstPhase, type MigrationMode } from '../../core/phases.ts';
import { replicaText } from '../../core/ids.ts';
import type { BindingRecord, MigrationState } from '../../schemas/binding-record.ts';
import type { MigrationInput } from '../../schemas/migration.ts';
import { firstRecord } from './first-record.ts';
import { readJournal } from './journal.ts';
import { sameUris } from './parking.ts';
import type { RecordStore } from './record-store.ts';

export interface OwnRequest {
  readonly input: MigrationInput;
  readonly inputDigest: string;
  readonly agentId: string;
  /** Of a new migration. */
  readonly mode: MigrationMode;
  /** Names this taking: a repeated request finds its own lease. */
  readonly claim: string;
  /** The lease seen before; another one means that someone else took the replica meanwhile. */
  readonly expectedLease: number;
  /** Runs `write`, which names a new migration's places, or throws when they are another's. */
  readonly naming: (write: () => Promise<BindingRecord>) => Promise<BindingRecord>;
}

/** How a migration that has ended, ended. */
export type EndResult = 'finalized' | 'rolled-back' | 'abandoned';

export type Owned =
  | { readonly kind: 'owned'; readonly record: BindingRecord }
  | { readonly kind: 'ended'; readonly result: EndResult };

/**
 * Takes the replica for a new migration, or adopts the one that owns it.
 * @throws `migration.conflict` (same id, other input), `record.conflict` (another owner or another
 *   primary), `record.superseded` (the lease moved on)
 */
export async function ownReplica(store: RecordStore, request: OwnRequest): Promise<Owned> {
  return store.locked(async ({ record, write, confirm }) => {
    const migration = record?.migration ?? null;
    // The journal's line comes before the record: while the record names it, it has not ended.
    const isRunning = migration?.id === request.input.migrationId;
    const ended = isRunning ? null : await endedResult(store, request);
    if (ended !== null) {
      await confirm();
      return { kind: 'ended', result: ended };
    }
    if (isRunning && migration.claim === request.claim) {
      await confirm();
      return { kind: 'owned', record: owned(record) };
    }
    if ((record?.lease ?? 0) !== request.expectedLease) {
      throw superseded(request, `the lease is ${record?.lease}, not ${request.expectedLease}`);
    }
    checkOwner(store, record, request);
    const lease = request.expectedLease + 1;
    const step = record?.token.step ?? 0;
    const next = {
      ...(record ?? firstRecord(request.input.replica, request.input.source)),
      lease,
      token: { lease, step, attempt: 0 },
      migration: migration
        ? { ...migration, claim: request.claim, agentId: request.agentId }
        : newMigration(request),
    };
    // A new mirror-to-be is named: proofs and stamps from before no longer fit.
    if (migration === null && request.mode !== 'binary') next.generation += 1;
    const event = migration === null ? 'own' : 'adopt';
    const audit = {
      event,
      by: request.input.requestedBy,
      details: { input: request.input, inputDigest: request.inputDigest, agent: request.agentId },
    };
    const take = () => write({ next, audit });
    return { kind: 'owned', record: await (migration === null ? request.naming(take) : take()) };
  });
}

function owned(record: BindingRecord | null): BindingRecord {
  assert(record !== null, 'a claim is found in a record');
  return record;
}

/** The recorded result of this id, for ever (the journal keeps it); null when it has not ended. */
async function endedResult(store: RecordStore, request: OwnRequest): Promise<EndResult | null> {
  for (const line of await readJournal(store.files, store.directory.journal)) {
    if (line['endedMigration'] !== request.input.migrationId) continue;
    if (line['inputDigest'] !== request.inputDigest) throw conflict(request, 'it ended already');
    const result = line['result'];
    assert(
      result === 'finalized' || result === 'rolled-back' || result === 'abandoned',
      'an ended migration has a result',
    );
    return result;
  }
  return null;
}

/** The lease under which a migration took the replica for the first time. */
export async function firstLease(store: RecordStore, migrationId: string): Promise<number> {
  const lines = await readJournal(store.files, store.directory.journal);
  const taken = lines.findLast(
    (line) => line['event'] === 'own' && line['migration'] === migrationId,
  );
  const token = taken?.['token'];
  const lease = typeof token === 'object' && token !== null && 'lease' in token && token.lease;
  return typeof lease === 'number' ? lease : Number.POSITIVE_INFINITY;
}

function checkOwner(store: RecordStore, record: BindingRecord | null, request: OwnRequest): void {
  if (record === null) return;
  const { migration } = record;
  if (migration?.id === request.input.migrationId) {
    if (migration.inputDigest !== request.inputDigest) throw conflict(request, 'it is running');
    return;
  }
  const replica = replicaText(store.replica);
  if (migration !== null) {
    throw fail('record.conflict', {
      action: 'migrate',
      replica,
      required: 'no other migration may own it',
      actual: `${migration.id} does, in phase ${migration.phase}`,
    });
  }
  if (!sameUris(record.primary.uris, request.input.source)) {
    throw fail('record.conflict', {
      action: 'migrate',
      replica,
      required: 'the source must be its primary',
      actual: `the primary is ${record.primary.uris.log}`,
    });
  }
}

function conflict(request: OwnRequest, how: string): QuorumshiftError {
  const { migrationId } = request.input;
  return fail('migration.conflict', {
    migration: migrationId,
    actual: `${how} with an input of another digest than ${request.inputDigest.slice(0, 12)}`,
  });
}

function superseded(request: OwnRequest, actual: string): QuorumshiftError {
  return fail('record.superseded', { step: 'own', migration: request.input.migrationId, actual });
}

function newMigration(request: OwnRequest): MigrationState {
  const { input } = request;
  return {
    id: input.migrationId,
    input,
    inputDigest: request.inputDigest,
    agentId: request.agentId,
    mode: request.mode,
    claim: request.claim,
    phase: firstPhase[request.mode],
    direction: 'forward',
    source: { uris: input.source, parkedTag: null },
    target: {
      uris: input.target,
      parkedTag: request.mode === 'stopped' ? `${input.migrationId}-target` : null,
    },
    targetTag: `${input.migrationId}-target`,
    sourceTag: `${input.migrationId}-source`,
    leftAside: [],
    results: [],
    proof: null,
    rollback: null,
  };
}

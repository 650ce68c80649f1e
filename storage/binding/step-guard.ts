/**
 * The one way to begin, guard and finish a step of a migration.
 *
 * A token is (lease, step, attempt). Each step and each attempt of it raises the token, durably,
 * before the attempt has any effect (OPS-5). Every change of names or of the record compares its
 * token with the record's under `record.lock`: a late attempt is `superseded` and changes nothing
 * (I13). The lease comes from `replica-lease.ts`.
 */
import { assert, fail, type QuorumshiftError } from '../../core/errors.ts';
import { replicaText } from '../../core/ids.ts';
import { mayBegin, nextPhase, type Phase, type StepOutcome } from '../../core/phases.ts';
import type {
  BindingRecord,
  LeftAside,
  MigrationState,
  StepInfo,
  StepResult,
  StepToken,
} from '../../schemas/binding-record.ts';
import type { AuditNote, RecordStore } from './record-store.ts';
import type { EndResult } from './replica-lease.ts';

/** An attempt of a step, as its activity was called. */
export interface StepClaim {
  readonly migrationId: string;
  readonly phase: Phase;
  readonly token: StepToken;
  /** On whose word it begins, for the journal; absent where no operator was asked. */
  readonly decision?: StepDecision;
}

/** Of an operator: a cutover was approved (then of this proof), or a soak ended. */
export interface StepDecision {
  readonly by: string;
  readonly digest?: string;
  readonly generation?: number;
}

/** A claim whose phase the record decides. */
export type AnyClaim = Omit<StepClaim, 'phase'> & { readonly phase?: Phase };

/** A step's way to change things; made by {@link beginStep}. */
export interface StepGuard {
  /** As of the beginning of the step. */
  readonly record: BindingRecord;
  readonly migration: MigrationState;
  /**
   * Runs `effect` under the lock if this attempt is still the newest. @throws `record.superseded`
   */
  effect<T>(effect: () => Promise<T>): Promise<T>;
  /** Changes the migration's state in the record without ending the step. */
  note(change: Partial<MigrationState>, audit: AuditNote): Promise<void>;
  /** Ends the step: result and next phase become durable in one write. */
  finish(ending: StepEnding): Promise<StepResult>;
}

export interface StepEnding {
  readonly outcome: StepOutcome;
  readonly info: StepInfo;
  /** What else changes in the same write. */
  readonly change?: (record: BindingRecord, migration: MigrationState) => BindingRecord;
}

/**
 * Begins an attempt of a step, durably, or answers the result that the step already has.
 * @throws `record.superseded` when a newer attempt, step or lease exists
 */
export async function beginStep(
  store: RecordStore,
  claim: StepClaim,
): Promise<{ readonly done: StepResult } | { readonly guard: StepGuard }> {
  return store.locked(async ({ record, write, confirm }) => {
    const done = recordedResult(record, claim);
    if (done !== undefined && done.did === claim.phase) {
      await confirm();
      return { done };
    }
    const current = checkNewer(record, claim);
    // Entering finalize is itself a durable decision: from here rollback is refused.
    const { phase } = current.migration;
    if (!mayBegin(claim.phase, phase)) {
      throw late(claim, `the record waits for ${phase}, not ${claim.phase}`);
    }
    const migration = { ...current.migration, phase: claim.phase };
    const begun = await write({
      next: { ...current.record, token: claim.token, migration },
      audit: { event: 'begin', by: migration.claim, details: detailsOf(claim) },
    });
    return { guard: makeGuard(store, claim, begun, migration) };
  });
}

function detailsOf({ phase, decision }: StepClaim): NonNullable<AuditNote['details']> {
  return { step: phase, ...(decision && { decision }) };
}

/**
 * What this step of this lease has already come to, the last step of an ended migration included.
 */
export function recordedResult(
  record: BindingRecord | null,
  claim: AnyClaim,
): StepResult | undefined {
  if (record === null || record.lease !== claim.token.lease) return undefined;
  const { migration, lastEnded } = record;
  if (migration?.id === claim.migrationId) {
    return migration.results.find((result) => result.step === claim.token.step);
  }
  const isLast = lastEnded?.id === claim.migrationId && lastEnded.last.step === claim.token.step;
  return isLast ? lastEnded.last : undefined;
}

export function checkNewer(record: BindingRecord | null, claim: AnyClaim): OwnedRecord {
  const current = ownMigration(record, claim);
  const { token } = claim;
  if (token.lease > current.record.lease) {
    throw fail('record.conflict', {
      action: 'change',
      replica: replicaText(current.record.replica),
      required: 'the record must know the lease of its owner',
      actual: `its lease is ${current.record.lease}, the owner's ${token.lease}: an older record was put back`,
    });
  }
  if (!isNewer(token, current.record.token)) {
    throw late(claim, `attempt ${JSON.stringify(current.record.token)} has begun`);
  }
  return current;
}

function makeGuard(
  store: RecordStore,
  claim: StepClaim,
  record: BindingRecord,
  migration: MigrationState,
): StepGuard {
  return {
    record,
    migration,
    effect: (effect) =>
      store.locked(async (locked) => {
        checkCurrent(locked.record, claim);
        return effect();
      }),
    note: async (change, audit) => {
      await store.locked(async (locked) => {
        const current = checkCurrent(locked.record, claim);
        const next = { ...current.record, migration: { ...current.migration, ...change } };
        await locked.write({ next, audit });
      });
    },
    finish: (ending) =>
      store.locked(async (locked) => {
        const current = checkCurrent(locked.record, claim);
        const next = nextPhase({ ...current.migration, phase: claim.phase }, ending.outcome);
        const { outcome, info } = ending;
        const result = { step: claim.token.step, did: claim.phase, next, outcome, info };
        const changed = ending.change?.(current.record, current.migration) ?? current.record;
        assert(changed.migration !== null, 'a step ends within its migration');
        const { results } = changed.migration;
        const after = { ...changed.migration, phase: next, results: [...results, result] };
        await locked.write({
          next:
            next === 'ended'
              ? endedRecord(changed, { migration: after, last: result, at: store.now() })
              : { ...changed, migration: after },
          audit: {
            event: next === 'ended' ? 'ended' : 'finish',
            by: current.migration.claim,
            details: {
              step: claim.phase,
              outcome,
              info,
              ...(next === 'ended' && {
                endedMigration: after.id,
                inputDigest: after.inputDigest,
                result: endResult(after),
                leftAside: leftBehind(after),
              }),
            },
          },
        });
        return result;
      }),
  };
}

function endResult(migration: MigrationState): EndResult {
  return migration.rollback === null ? 'finalized' : 'rolled-back';
}

/**
 * What the migration leaves to be deleted by hand: after a reversal, the target that it left too.
 */
function leftBehind(migration: MigrationState): LeftAside[] {
  const { direction, leftAside, source, sourceTag, mode } = migration;
  if (direction === 'forward' || mode === 'live') return leftAside;
  const why = 'the target that was rolled back: its state is in the fresh instance';
  return [...leftAside, { kind: 'instance', uris: source.uris, tag: sourceTag, why }];
}

/** The record when its migration has ended. */
function endedRecord(
  record: BindingRecord,
  ended: { migration: MigrationState; last: StepResult; at: string },
): BindingRecord {
  const { migration, last, at } = ended;
  const { id, inputDigest } = migration;
  const leftAside = leftBehind(migration);
  const lastEnded = { id, inputDigest, result: endResult(migration), last, at, leftAside };
  return { ...record, migration: null, lastEnded };
}

export interface OwnedRecord {
  readonly record: BindingRecord;
  readonly migration: MigrationState;
}

function ownMigration(record: BindingRecord | null, claim: AnyClaim): OwnedRecord {
  const migration = record?.migration ?? null;
  if (record === null || migration?.id !== claim.migrationId) {
    throw late(claim, migration === null ? 'the migration has ended' : `${migration.id} owns it`);
  }
  return { record, migration };
}

/**
 * For what another process does at a step's behest (OPS-5), or, without a claim, at an operator's:
 * under the record's lock. @throws `record.superseded`; `record.conflict` to an operator while a
 * migration owns the replica
 */
export function requireCaller(record: BindingRecord, claim: StepClaim | null): void {
  if (claim !== null) {
    checkCurrent(record, claim);
    return;
  }
  if (record.migration === null) return;
  const { id, phase } = record.migration;
  throw fail('record.conflict', {
    action: 'change the mirror of',
    replica: replicaText(record.replica),
    required: 'no migration may own it: steer that instead ("quorumshift status")',
    actual: `${id} does, in phase ${phase}`,
  });
}

function checkCurrent(given: BindingRecord | null, claim: StepClaim): OwnedRecord {
  const { record, migration } = ownMigration(given, claim);
  const { lease, step, attempt } = record.token;
  const { token } = claim;
  if (lease !== token.lease || step !== token.step || attempt !== token.attempt) {
    throw late(claim, `attempt ${JSON.stringify(record.token)} has begun`);
  }
  if (migration.results.some((result) => result.step === step && result.did === claim.phase)) {
    throw late(claim, 'the step has ended');
  }
  return { record, migration };
}

function isNewer(token: StepToken, than: StepToken): boolean {
  if (token.lease !== than.lease) return token.lease > than.lease;
  if (token.step !== than.step) return token.step > than.step;
  return token.attempt > than.attempt;
}

function late(claim: AnyClaim, actual: string): QuorumshiftError {
  const { migrationId, phase = 'decision', token } = claim;
  return fail('record.superseded', {
    step: `${phase} (${token.lease}.${token.step}.${token.attempt})`,
    migration: migrationId,
    actual,
  });
}

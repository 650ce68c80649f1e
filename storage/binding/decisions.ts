/**
 * Decisions of operators that turn a migration round, written into the record before anything
 * follows from them: so they survive the workflow, and a repeated one finds itself written (OPS-5).
 */
import { fail } from '../../core/errors.ts';
import { replicaText } from '../../core/ids.ts';
import { forwardStart, rollbackStart, type Phase } from '../../core/phases.ts';
import type { BindingRecord, MigrationState, StepResult } from '../../schemas/binding-record.ts';
import type { RecordStore } from './record-store.ts';
import { isSame } from './parking.ts';
import { checkNewer, recordedResult, type AnyClaim } from './step-guard.ts';

export interface DecisionWish {
  readonly by: string;
  readonly reason: string;
}

interface Decision {
  readonly name: 'rollback' | 'forward-again';
  /** The phase that it leads to. @throws `migration.illegal-action` */
  readonly next: (migration: MigrationState, record: BindingRecord) => Phase;
  /** What else it changes. */
  readonly change: Partial<MigrationState>;
}

/**
 * To roll back: from then on nothing goes forward.
 * @throws `migration.illegal-action` when the phase no longer allows it, `record.superseded`
 */
export async function decideRollback(
  store: RecordStore,
  claim: AnyClaim,
  wish: DecisionWish,
): Promise<StepResult> {
  return decide(store, claim, {
    wish,
    name: 'rollback',
    next: (migration, record) =>
      rollbackStart(swapped(migration, record)) ??
      refuse(store, migration, {
        action: 'roll back',
        required: 'it must not be final or rolling back already',
      }),
    change: { rollback: { by: wish.by, reason: wish.reason, at: store.now() } },
  });
}

/**
 * To end a reversal and stay on the target, which is whole behind its fences. That it was rolling
 * back is forgotten only once its digest has shown that nothing changed there.
 * @throws `migration.illegal-action` unless it is a reversal before its swap, `record.superseded`
 */
export async function decideForward(
  store: RecordStore,
  claim: AnyClaim,
  wish: DecisionWish,
): Promise<StepResult> {
  return decide(store, claim, {
    wish,
    name: 'forward-again',
    next: (migration) =>
      forwardStart(migration) ??
      refuse(store, migration, {
        action: 'cancel the rollback of',
        required: 'it must be moving the target’s state back, and not have swapped yet',
      }),
    change: {},
  });
}

async function decide(
  store: RecordStore,
  claim: AnyClaim,
  { wish, name, next: nextOf, change }: Decision & { readonly wish: DecisionWish },
): Promise<StepResult> {
  return store.locked(async ({ record, write, confirm }) => {
    const done = recordedResult(record, claim);
    if (done !== undefined) {
      await confirm();
      return done;
    }
    const { token } = claim;
    const { migration, record: current } = checkNewer(record, claim);
    const next = nextOf(migration, current);
    const { by, reason } = wish;
    const result: StepResult = {
      step: token.step,
      did: migration.phase,
      next,
      outcome: 'done',
      info: { decision: name, by, reason },
    };
    const results = [...migration.results, result];
    await write({
      next: { ...current, token, migration: { ...migration, ...change, phase: next, results } },
      audit: { event: `decide-${name}`, by, details: { reason } },
    });
    return result;
  });
}

/**
 * Live, the storage host swaps the record before the step that asked for it ends: then the way back
 * is that of the phase after.
 */
function swapped(migration: MigrationState, { primary }: BindingRecord): MigrationState {
  const { mode, phase, target } = migration;
  const isSwapped = mode === 'live' && phase === 'swap' && isSame(primary, target);
  return isSwapped ? { ...migration, phase: 'probe' } : migration;
}

function refuse(
  store: RecordStore,
  { phase, direction }: MigrationState,
  why: { readonly action: string; readonly required: string },
): never {
  throw fail('migration.illegal-action', {
    ...why,
    replica: replicaText(store.replica),
    actual: `it is in phase ${phase}${direction === 'back' ? ' of a reversal' : ''}`,
  });
}

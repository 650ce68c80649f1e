/**
 * Runs one attempt of a step: addressee, token, body, recorded result. The same for every phase.
 */
import { assert, fail } from '../core/errors.ts';
import { describe, lookAt } from '../storage/binding/fence-file.ts';
import { ownPaths } from '../storage/binding/parking.ts';
import type { StepPhase } from '../core/phases.ts';
import {
  beginStep,
  type StepDecision,
  type StepEnding,
  type StepGuard,
} from '../storage/binding/step-guard.ts';
import type { RecordStore } from '../storage/binding/record-store.ts';
import {
  checkAddressee,
  claimOf,
  recordStore,
  viewOf,
  type AgentContext,
  type Attempt,
} from './agent-context.ts';
import { checkRoots } from './allowed-roots.ts';
import { noteAttempt } from './orphaned-attempts.ts';
import type { StepAnswer, StepRequest } from './contract.ts';

/** What a phase's body works with. */
export interface Step {
  readonly phase: StepPhase;
  readonly context: AgentContext;
  readonly request: StepRequest;
  readonly store: RecordStore;
  readonly guard: StepGuard;
  readonly attempt: Attempt;
}

/** Does the phase's work through `step.guard`; what it returns ends the step. */
export type StepBody = (step: Step) => Promise<StepEnding>;

/**
 * @throws `record.superseded` for a late attempt, `agent.*` for a wrong addressee, and whatever the
 *   body throws: the attempt may then be repeated
 */
export async function runStep(
  context: AgentContext,
  call: { phase: StepPhase; request: StepRequest; attempt: Attempt; body: StepBody },
): Promise<StepAnswer> {
  const { phase, request, attempt, body } = call;
  checkAddressee(context, request);
  const store = recordStore(context, request);
  if (phase === 'finalize') await requireTarget(context, store);
  const decision = decisionOf(phase, request);
  const begun = await beginStep(store, {
    ...claimOf(request, attempt),
    phase,
    ...(decision && { decision }),
  });
  if ('done' in begun) return answer(store, request, begun.done);
  const { guard } = begun;
  // Under the lock: a late attempt must not replace its successor's note.
  await guard.effect(() => noteAttempt(context.files, store.directory, attempt.taskToken));
  await checkRoots(context, [guard.migration.source.uris, guard.migration.target.uris]);
  const ending = await body({ phase, context, request, store, guard, attempt }).catch(
    async (error: unknown) => {
      // What a late attempt stumbles over (places that have moved on) is no failure of the step.
      await guard.effect(async () => {});
      throw error;
    },
  );
  return answer(store, request, await guard.finish(ending));
}

/** What an operator has decided is in the journal before it has an effect (I18). */
function decisionOf(phase: StepPhase, { approved, decidedBy }: StepRequest): StepDecision | null {
  if (decidedBy === undefined) return null;
  return { by: decidedBy, ...(phase === 'swap' && approved) };
}

/**
 * Before finalize is written, and with it the end of every way back: the target is where the
 * replica is said to be.
 * @throws `fence.unexpected`: rollback is still possible then
 */
async function requireTarget(context: AgentContext, store: RecordStore): Promise<void> {
  const { files, families } = context;
  const migration = (await store.read())?.migration ?? null;
  if (migration === null || migration.phase === 'finalize') return;
  // There the source is the target: a storage host may hold it, or have moved it since.
  if (migration.mode === 'binary') return;
  const { uris } = migration.target;
  for (const path of ownPaths(families, uris)) {
    const found = await lookAt(files, path);
    if (found.kind !== 'directory')
      throw fail('fence.unexpected', { path, actual: describe(found) });
  }
  if ((await families.familyOf(uris).occupied(uris, { files })) !== null) return;
  throw fail('instance.missing', { instance: uris.log, actual: 'its directories are empty' });
}

/** The result with the record as it is now. */
export async function answer(
  store: RecordStore,
  request: StepRequest,
  result: StepAnswer['result'],
): Promise<StepAnswer> {
  const record = await store.read();
  assert(record !== null, 'a step ends with a record');
  return { result, view: viewOf(record, request.migrationId) };
}

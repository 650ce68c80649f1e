/** The cutover of a stopped replica, and its undoing: one write of the record each (CUT-2). */
import { fail } from '../core/errors.ts';
import type { BindingRecord } from '../schemas/binding-record.ts';
import type { Step, StepBody } from './step-runner.ts';

/** @throws what `checkProof` does */
export const swap: StepBody = async (step) => {
  checkProof(step);
  return {
    outcome: 'done',
    info: { primary: step.guard.migration.target.uris.log },
    change: (record, migration) => withPrimary(record, migration.target),
  };
};

export const swapBack: StepBody = async (step) => ({
  outcome: 'done',
  info: { primary: step.guard.migration.source.uris.log },
  change: (record, migration) => withPrimary(record, migration.source),
});

function withPrimary(record: BindingRecord, primary: BindingRecord['primary']): BindingRecord {
  return { ...record, primary, generation: record.generation + 1 };
}

/**
 * Before the cutover has an effect.
 * @throws `proof.stale` unless its proof is of this generation, and approved where it must be;
 *   `cutover.too-late` where the window has ended that it was approved for
 */
export function checkProof(step: Step): void {
  const { record, migration } = step.guard;
  const { proof, input, direction } = migration;
  const present = proof ? `${proof.digest} (generation ${proof.generation})` : 'none';
  if (proof?.generation !== record.generation) {
    throw fail('proof.stale', { present, given: `generation ${record.generation}` });
  }
  // A reversal is the operator's own decision to go back: it was asked for, not to be approved.
  if (input.policy.approval === 'none' || direction === 'back') return;
  const { approved, notAfterMs } = step.request;
  if (notAfterMs !== undefined && step.context.now().getTime() >= notAfterMs) {
    throw fail('cutover.too-late', { ended: new Date(notAfterMs).toISOString() });
  }
  if (approved?.digest === proof.digest && approved.generation === proof.generation) return;
  throw fail('proof.stale', { present, given: approved?.digest ?? 'nothing' });
}

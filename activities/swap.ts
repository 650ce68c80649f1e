/** The cutover of a stopped replica, and its undoing: one write of the record each (CUT-2). */
import { fail } from '../core/errors.ts';
import type { BindingRecord } from '../schemas/binding-record.ts';
import type { Step, StepBody } from './step-runner.ts';

/** @throws `proof.stale` when what was approved is not the proof on record */
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

/** @throws `proof.stale` unless its proof is of this generation, and approved where it must be */
export function checkProof(step: Step): void {
  const { record, migration } = step.guard;
  const { proof, input, direction } = migration;
  const present = proof ? `${proof.digest} (generation ${proof.generation})` : 'none';
  if (proof?.generation !== record.generation) {
    throw fail('proof.stale', { present, given: `generation ${record.generation}` });
  }
  // A reversal is the operator's own decision to go back: it was asked for, not to be approved.
  if (input.policy.approval === 'none' || direction === 'back') return;
  const { approved } = step.request;
  if (approved?.digest === proof.digest && approved.generation === proof.generation) return;
  throw fail('proof.stale', { present, given: approved?.digest ?? 'nothing' });
}

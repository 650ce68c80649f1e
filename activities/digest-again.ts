/** The parked source, read wholly once more just before the record changes (CUT-7). */
import type { InstanceRef } from '../schemas/binding-record.ts';
import { urisNow } from '../storage/binding/parking.ts';
import { digestInstance } from '../storage/equivalence/state-digest.ts';
import { underControl } from './bulk-work.ts';
import { withFreshTarget } from './fresh-target.ts';
import { stateBytes } from './state-size.ts';
import type { Step, StepBody } from './step-runner.ts';

export const digestAgain: StepBody = async (step) => {
  const { migration } = step.guard;
  const digest = await digestNow(step, migration.source);
  if (digest === migration.proof?.digest) return { outcome: 'done', info: { digest } };
  const reason = 'the source changed after it was validated';
  return {
    outcome: 'different',
    info: { digest, proof: migration.proof?.digest ?? null, reason },
    change: (record, state) => ({
      ...record,
      migration: {
        ...(state.direction === 'back' ? withFreshTarget(record, state) : state),
        proof: null,
        rollback: state.rollback ?? { by: 'quorumshift', reason, at: step.store.now() },
      },
    }),
  };
};

/** The digest of what is read back from the instance now, wherever it lies. */
export async function digestNow(step: Step, ref: InstanceRef): Promise<string> {
  const { files, families } = step.context;
  const instance = await families.open(urisNow(families, ref), 'read-only', {
    files,
    readsAll: true,
  });
  try {
    const bytesTotal = await stateBytes(instance);
    const digest = await underControl(step, { bytesTotal }, (options) =>
      digestInstance(instance, options),
    );
    return digest.root;
  } finally {
    await instance.close();
  }
}

/**
 * Rollback after the swap (CUT-6): the fenced target still equals the proof, and the source may
 * come back; or the replica has written to it, and its state is moved to a fresh instance at the
 * source's places. The source from before is never put back then: it lacks what was acknowledged
 * since.
 */
import { digestNow } from './digest-again.ts';
import { pointFences } from './fence.ts';
import type { StepBody } from './step-runner.ts';

export const rollbackDigest: StepBody = async (step) => {
  const { record, migration } = step.guard;
  const digest = await digestNow(step, migration.target);
  if (digest === migration.proof?.digest) {
    return { outcome: 'done', info: { digest, equal: true } };
  }
  const tag = `${migration.id}-reversal-${record.token.lease}_${record.token.step}`;
  await pointFences(step, migration.source.uris, tag);
  return {
    outcome: 'different',
    info: { digest, equal: false, reversalInto: migration.source.uris.log },
    change: (current, state) => ({
      ...current,
      generation: current.generation + 1,
      migration: {
        ...state,
        direction: 'back',
        source: state.target,
        sourceTag: state.targetTag,
        target: { uris: state.source.uris, parkedTag: tag },
        targetTag: tag,
        proof: null,
        leftAside: [
          ...state.leftAside,
          {
            kind: 'instance',
            uris: state.source.uris,
            tag: state.sourceTag,
            why: 'the source from before the cutover: it lacks what was written since',
          },
        ],
      },
    }),
  };
};

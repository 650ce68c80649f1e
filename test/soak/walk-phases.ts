/** Every phase that a migration can be killed in, by walking the state machine. */
import { nextPhase, rollbackStart, type Phase, type Position } from '../../core/phases.ts';

/** From `first` until the end, all going well. */
function walkFrom(
  first: Phase,
  { direction = 'forward', mode = 'stopped' }: Partial<Omit<Position, 'phase'>> = {},
): readonly Phase[] {
  const walked: Phase[] = [];
  const next = (phase: Phase) => nextPhase({ phase, direction, mode }, 'done');
  for (let phase = first; phase !== 'ended'; phase = next(phase)) {
    walked.push(phase);
  }
  return walked;
}

export const forwardPhases = walkFrom('stop');

/** Of a rollback wished for while the replica soaks. */
export const rollbackPhases = walkFrom(
  rollbackStart({ phase: 'soak', direction: 'forward' }) ?? 'ended',
);

/** Of a rollback that moves what the replica has written since into a fresh instance. */
export const reversalPhases = walkFrom(
  nextPhase({ phase: 'rollback-digest', direction: 'forward' }, 'different'),
  { direction: 'back' },
);

/** Of a live replica: on its way, and back from the soak. */
export const livePhases = {
  forward: walkFrom('mirror', { mode: 'live' }),
  rollback: walkFrom('rollback-validate', { mode: 'live' }),
};

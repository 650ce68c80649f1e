/** Every phase that a migration can be killed in, by walking the state machine. */
import { nextPhase, rollbackStart, type Direction, type Phase } from '../../core/phases.ts';

/** From `first` until the end, all going well. */
function walkFrom(first: Phase, direction: Direction = 'forward'): readonly Phase[] {
  const walked: Phase[] = [];
  for (let phase = first; phase !== 'ended'; phase = nextPhase(phase, direction, 'done')) {
    walked.push(phase);
  }
  return walked;
}

export const forwardPhases = walkFrom('stop');

/** Of a rollback wished for while the replica soaks. */
export const rollbackPhases = walkFrom(rollbackStart('soak', 'forward') ?? 'ended');

/** Of a rollback that moves what the replica has written since into a fresh instance. */
export const reversalPhases = walkFrom(
  nextPhase('rollback-digest', 'forward', 'different'),
  'back',
);

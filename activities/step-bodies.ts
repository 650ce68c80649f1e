/** What each phase does; the only list of it. */
import { assert } from '../core/errors.ts';
import type { MigrationMode, StepPhase } from '../core/phases.ts';
import type { StepEnding } from '../storage/binding/step-guard.ts';
import { admit } from './admit.ts';
import { copy } from './copy.ts';
import { digestAgain } from './digest-again.ts';
import { discard } from './discard.ts';
import { fence, fenceTarget } from './fence.ts';
import { finalize } from './finalize.ts';
import { forwardDigest, forwardRestore } from './forward-again.ts';
import { hookStep } from './hook-step.ts';
import {
  beginMirror,
  cutBack,
  cutOver,
  dropMirror,
  finalizeLive,
  validateInSoak,
  validatePair,
  validateWayBack,
} from './live-steps.ts';
import { lookAtSource, lookAtTarget } from './look.ts';
import { publish } from './publish.ts';
import { rollbackDigest } from './rollback-digest.ts';
import { swap, swapBack } from './swap.ts';
import { unfence } from './unfence.ts';
import { validate } from './validate.ts';
import type { StepBody } from './step-runner.ts';

export const stepBodies: Readonly<Record<StepPhase, StepBody>> = {
  stop: hookStep('stop', 'source'),
  fence,
  'stop-again': hookStep('stop', 'source'),
  look: lookAtSource,
  mirror: beginMirror,
  copy,
  publish,
  validate: byMode({ live: validatePair, stopped: validate }),
  'digest-again': digestAgain,
  swap: byMode({ live: cutOver, stopped: swap }),
  repoint: hookStep('repoint', 'target'),
  admit,
  replace: hookStep('replace', 'target'),
  start: hookStep('start', 'target'),
  probe: hookStep('probe', 'target'),
  'soak-validate': validateInSoak,
  finalize: byMode({ live: finalizeLive, stopped: finalize, binary: nothingToRetire }),
  'rollback-stop': hookStep('stop', 'target'),
  'rollback-fence': fenceTarget,
  'rollback-stop-again': hookStep('stop', 'target'),
  'rollback-look': lookAtTarget,
  'rollback-validate': validateWayBack,
  'rollback-digest': rollbackDigest,
  'rollback-swap': byMode({ live: cutBack, stopped: swapBack }),
  discard: byMode({ live: dropMirror, stopped: discard }),
  'repoint-back': hookStep('repoint', 'source'),
  unfence,
  'replace-back': hookStep('replace', 'source'),
  'start-back': hookStep('start', 'source'),
  'probe-back': hookStep('probe', 'source'),
  'forward-digest': forwardDigest,
  'forward-restore': forwardRestore,
};

/** A phase without a body in a mode is not in that mode's table. */
function byMode(bodies: Readonly<Partial<Record<MigrationMode, StepBody>>>): StepBody {
  return (step) => {
    const { mode } = step.guard.migration;
    const body = bodies[mode];
    assert(body !== undefined, `a ${mode} migration has no phase ${step.phase}`);
    return body(step);
  };
}

/** The storage stayed where it is: the source is the target. */
async function nothingToRetire(): Promise<StepEnding> {
  return { outcome: 'done', info: { retired: 'nothing' } };
}

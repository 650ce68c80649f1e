/** What must be given before the next step of a migration may run: by operators, policy or time. */
import { workflowInfo } from '@temporalio/workflow';

import type { MigrationState } from './migration-state.ts';
import type { Soak } from './soak.ts';
import type { Waits } from './waits.ts';

/** True when the next step may run now; waits otherwise, and the status says why. */
export async function passGates(state: MigrationState, waits: Waits, soak: Soak): Promise<boolean> {
  if (state.wantsRollback || state.wantsForward) return true;
  if (state.paused) {
    const reason = 'an operator paused it';
    await waits.until(
      { kind: 'paused', reason, remedy: 'resume' },
      () => !state.paused || isLong(),
    );
    return false;
  }
  const { phase } = state;
  const forward = state.view?.direction === 'forward';
  if (state.cancelled && phase === 'soak') {
    const reason = 'the workflow was cancelled after the cutover: nothing was undone';
    await waits.forOperator({ kind: 'cancelled', reason, remedy: 'complete or roll back' });
    state.cancelled = false;
    return false;
  }
  const { approval } = state.request.input.policy;
  if (phase === 'swap' && forward && approval === 'manual' && !isApproved(state)) {
    const reason = `the cutover needs approval of proof ${state.view?.proof?.digest ?? ''}`;
    await waits.until(
      { kind: 'approval', reason, remedy: 'approve' },
      () => isApproved(state) || isLong(),
    );
    return false;
  }
  return soak.isStanding ? soak.wantsValidation || soak.pass() : true;
}

/** A wait of weeks is handed on to the next run: a history has an end. */
function isLong(): boolean {
  return workflowInfo().continueAsNewSuggested;
}

function isApproved({ approved, view }: MigrationState): boolean {
  return (
    approved !== null &&
    approved.digest === view?.proof?.digest &&
    approved.generation === view.proof.generation
  );
}

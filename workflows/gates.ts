/** What must be given before the next step of a migration may run: by operators, policy or time. */
import { patched, workflowInfo } from '@temporalio/workflow';

import type { MigrationMode, StepPhase } from '../core/phases.ts';
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
  if (phase === 'stop' && isCoordinated(state) && !state.mayBegin && patched('turn-to-stop')) {
    await waits.until(turnReason, () => state.mayBegin || !isCoordinated(state) || isLong());
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

/** Of one that is to leave its group: before its machine is reached, and right before its stop. */
const turnReason = {
  kind: 'approval',
  reason: 'its rollout is to see whether the group may lose it now',
  remedy: 'wait; see the status of the rollout',
} as const;

/** A wait of weeks is handed on to the next run: a history has an end. */
function isLong(): boolean {
  return workflowInfo().continueAsNewSuggested;
}

/**
 * A checked replica has its leases, perhaps after hours: whether its group may lose it is for its
 * rollout to see now. A live one stays up, and is asked about before its cutover.
 */
export async function untilTurn(
  state: MigrationState,
  waits: Waits,
  mode: MigrationMode,
): Promise<void> {
  const isOfRollout = state.coordinator !== null || state.request.coordinator !== undefined;
  if (mode === 'live' || !isOfRollout || !patched('turn')) return;
  const isOver = () => state.mayBegin || state.coordinator === null || state.isCalledOff;
  while (!isOver()) await waits.until(turnReason, isOver);
  if (state.mayBegin) return;
  const why = 'its rollout was abandoned before it had begun';
  if (!state.isCalledOff) state.abandonWish = { by: 'quorumshift', reason: why };
}

/** On whose word a step begins, where a human's is needed; its machine writes it down. */
export function decidedBy(
  { approvedBy, completeWish }: MigrationState,
  phase: StepPhase,
): { readonly decidedBy?: string } {
  if (phase === 'swap' && approvedBy !== null) return { decidedBy: approvedBy };
  if (phase === 'finalize' && completeWish !== null) return { decidedBy: completeWish.by };
  return {};
}

function isCoordinated({ coordinator }: MigrationState): boolean {
  return coordinator !== null;
}

function isApproved({ approved, approvedUntilMs, view }: MigrationState): boolean {
  return (
    approved !== null &&
    Date.now() < (approvedUntilMs ?? Infinity) &&
    approved.digest === view?.proof?.digest &&
    approved.generation === view.proof.generation
  );
}

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
  if (phase === 'stop' && isOfRollout(state) && !state.mayBegin && patched('turn-to-stop')) {
    await untilTurnToStop(state, waits);
    return false;
  }
  const { approval } = state.request.input.policy;
  if (phase === 'swap' && forward && approval === 'manual' && !isApproved(state)) {
    const { digest = '' } = state.view?.proof ?? {};
    const late = state.tooLate === null ? '' : `; the last one came too late: ${state.tooLate}`;
    const reason = `the cutover needs approval of proof ${digest}${late}`;
    await waits.until(
      { kind: 'approval', reason, remedy: 'approve that proof: "approve --proof <digest>"' },
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

const withItsRollout = {
  by: 'quorumshift',
  reason: 'its rollout was abandoned before it had begun',
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
  if (mode === 'live' || !isOfRollout(state) || !patched('turn')) return;
  const isOver = () => state.mayBegin || state.coordinator === null || state.isCalledOff;
  while (!isOver()) await waits.until(turnReason, isOver);
  if (!state.mayBegin && !state.isCalledOff) state.abandonWish = withItsRollout;
}

/**
 * What it was told may have lapsed. Where nobody coordinates it any more, an operator's `resume` is
 * the word; what its rollout has let go of is not stopped by that.
 */
async function untilTurnToStop(state: MigrationState, waits: Waits): Promise<void> {
  const { retryVersion } = state;
  const isResumed = () => state.coordinatorIsGone && state.retryVersion !== retryVersion;
  const isLetGo = () => state.coordinator === null;
  await waits.until(turnReason, () => state.mayBegin || isResumed() || isLetGo() || isLong());
  if (isResumed()) state.letBegin(Infinity);
  else if (isLetGo() && !state.mayBegin) state.abandonWish ??= withItsRollout;
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

/** Also of one that has let it go. */
function isOfRollout({ coordinator, request }: MigrationState): boolean {
  return coordinator !== null || request.coordinator !== undefined;
}

function isApproved({ approved, approvedUntilMs, view }: MigrationState): boolean {
  return (
    approved !== null &&
    Date.now() < (approvedUntilMs ?? Infinity) &&
    approved.digest === view?.proof?.digest &&
    approved.generation === view.proof.generation
  );
}

/** What a migration's status says: how it stands, what a way back would do, what may be asked. */
import { rollbackPlan } from '../core/phases.ts';
import type { MigrationStatus } from './messages.ts';
import { endedByResume, type MigrationState } from './migration-state.ts';
import { positionOf } from './position.ts';

export function migrationStatus(state: MigrationState): MigrationStatus {
  const { request, coordinator, agentId, stage, phase, view, waiting, paused } = state;
  const { bytesPerSecond, approved, findings, results, outcome } = state;
  return {
    input: request.input,
    coordinator,
    agentId,
    stage,
    phase,
    view,
    waiting,
    paused,
    bytesPerSecond,
    approved,
    findings,
    results,
    compensations: view && phase ? rollbackPlan(positionOf(view)) : [],
    actions: actionsOf(state),
    outcome,
  };
}

function actionsOf(state: MigrationState): string[] {
  const { stage, waiting, paused, view } = state;
  if (stage === 'ended') return [];
  const asks = waiting?.kind === 'approval' && !state.isCoordinated;
  const isToBegin = asks && view?.proof == null;
  const resumable =
    paused || isToBegin || (waiting !== null && endedByResume.includes(waiting.kind));
  return [
    ...(paused ? [] : ['pause']),
    ...(resumable ? ['resume'] : []),
    ...(asks && !isToBegin ? ['approve'] : []),
    ...(state.canRollBack ? ['rollback'] : []),
    ...(state.canGoForward ? ['rollback --cancel'] : []),
    ...(state.isSoaking ? ['complete'] : []),
    'throttle',
    'abandon',
  ];
}

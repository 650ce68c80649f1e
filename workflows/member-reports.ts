/** Tells the rollout that coordinates a migration how it stands, whenever that matters to it. */
import { condition, getExternalWorkflowHandle } from '@temporalio/workflow';

import type { MigrationState } from './migration-state.ts';
import { memberReportSignal, type MemberReport } from './rollout-messages.ts';

/** Until the migration has ended; a coordinator that is gone holds nothing up. */
export async function reportToCoordinator(state: MigrationState): Promise<void> {
  let told = '';
  for (;;) {
    const matters = () => {
      const now = whatMatters(state);
      return state.coordinator !== null && now !== told;
    };
    await condition(() => state.stage === 'ended' || state.asker !== null || matters());
    if (state.asker !== null) {
      const { asker } = state;
      state.asker = null;
      await tell(asker, nextReport(state));
    } else if (matters() && state.coordinator !== null) {
      told = whatMatters(state);
      state.coordinatorIsGone = !(await tell(state.coordinator, nextReport(state)));
    } else return;
  }
}

/** Not each step: what a rollout decides by, and what it shows. */
function whatMatters(state: MigrationState): string {
  const { coordinator, coordinatedAt, waiting, view, phase, outcome, failure } = state;
  const course = view === null ? null : [view.rollingBack, view.direction, view.generation];
  const at = [phase === null, state.isSoaking, waiting?.kind, waiting?.reason];
  return JSON.stringify([coordinator, coordinatedAt, course, at, outcome, failure]);
}

function nextReport(state: MigrationState): MemberReport {
  const { request, view, phase, waiting, outcome, failure } = state;
  state.reports += 1;
  return {
    member: request.input.replica.member,
    migrationId: request.input.migrationId,
    seq: state.reports,
    phase,
    rollingBack: view?.rollingBack ?? false,
    waiting,
    proof: view?.proof ?? null,
    soakProblem: state.soakProblem,
    outcome,
    reason: failure ?? state.endReason ?? state.rollbackWish?.reason ?? null,
    failed: failure !== null,
  };
}

/** False when no workflow runs under this id. */
async function tell(coordinator: string, report: MemberReport): Promise<boolean> {
  try {
    await getExternalWorkflowHandle(coordinator).signal(memberReportSignal, report);
    return true;
  } catch {
    return false;
  }
}

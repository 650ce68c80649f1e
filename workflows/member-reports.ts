/** Tells the rollout that coordinates a migration how it stands, whenever that matters to it. */
import { condition, getExternalWorkflowHandle } from '@temporalio/workflow';

import { endedByResume, type MigrationState } from './migration-state.ts';
import { memberReportSignal, type MemberReport } from './rollout-messages.ts';
import { tellsLess } from './less-told.ts';

/**
 * A wait that has ended is told with what follows it, or after this: a report is a task of two
 * workflows, and most steps take less. A rollout repeats an order only later.
 */
const untilFollowedMs = 5_000;

/** What was told last. */
interface Told {
  readonly urgent: string;
  readonly standing: string;
  /** Nothing moves before somebody has chosen: that this is over is told at once. */
  readonly isStopped: boolean;
}

/** Until the migration has ended; a coordinator that is gone holds nothing up. */
export async function reportToCoordinator(state: MigrationState): Promise<void> {
  let told: Told | null = null;
  const isNew = () => state.coordinator !== null && !isSame(told, whatMatters(state));
  // Nothing has happened but that a wait is over.
  const isPassing = () =>
    told?.isStopped === false &&
    state.waiting === null &&
    told.urgent === whatMatters(state).urgent;
  const isAsked = () => state.stage === 'ended' || state.asker !== null;
  for (;;) {
    await condition(() => isAsked() || isNew());
    if (state.asker !== null) {
      const { asker } = state;
      state.asker = null;
      await tell(asker, nextReport(state));
    } else if (isNew() && state.coordinator !== null) {
      const follows = () => isAsked() || !isNew() || !isPassing();
      // Histories of before tell each.
      const waits = isPassing() && tellsLess();
      if (waits && (await condition(follows, untilFollowedMs)) && !isAsked()) continue;
      const { coordinator } = state;
      if (coordinator === null) continue;
      told = whatMatters(state);
      state.coordinatorIsGone = !(await tell(coordinator, nextReport(state)));
    } else if (state.stage === 'ended') return;
  }
}

function isSame(told: Told | null, now: Told): boolean {
  return told?.urgent === now.urgent && told.standing === now.standing;
}

/** Not each step: what a rollout decides by, and what it shows. */
function whatMatters(state: MigrationState): Told {
  const { coordinator, coordinatedAt, waiting, view, phase, outcome, failure } = state;
  const course = [view?.rollingBack ?? false, view?.direction ?? 'forward'];
  const at = [phase === null, state.isSoaking, waiting?.kind, waiting?.reason];
  return {
    urgent: JSON.stringify([coordinator, coordinatedAt, course, outcome, failure]),
    standing: JSON.stringify([view?.generation ?? null, at]),
    isStopped: waiting !== null && endedByResume.includes(waiting.kind),
  };
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

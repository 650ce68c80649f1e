/** What Temporal knows of the attempt under way, when a workflow is asked where it stands. */
import type { WorkflowExecutionDescription } from '@temporalio/client';
import { optionalTsToDate } from '@temporalio/common/lib/time.js';

export interface AttemptReport {
  /** The activity: a phase, or a question to the agent. */
  readonly step: string;
  readonly number: number;
  /** Whether an agent has taken it. */
  readonly taken: boolean;
  /** When it was there to be taken; for an attempt that waits for its time, in the future. */
  readonly scheduledAt: string | null;
  /** Null before the first heartbeat. Steps that are short send none. */
  readonly heartbeatAt: string | null;
  readonly lastFailure: string | null;
}

type PendingActivity = NonNullable<
  WorkflowExecutionDescription['raw']['pendingActivities']
>[number];

export function attemptReport(pending: PendingActivity): AttemptReport {
  const { attempt, activityType, scheduledTime, lastHeartbeatTime } = pending;
  return {
    step: activityType?.name ?? '?',
    number: attempt ?? 1,
    taken: Number(pending.state) !== scheduledState,
    scheduledAt: timeText(scheduledTime),
    heartbeatAt: timeText(lastHeartbeatTime),
    lastFailure: pending.lastFailure?.message ?? null,
  };
}

/** `temporal.api.enums.v1.PendingActivityState`: no worker has it now. */
const scheduledState = 1;

function timeText(time: Parameters<typeof optionalTsToDate>[0]): string | null {
  return optionalTsToDate(time)?.toISOString() ?? null;
}

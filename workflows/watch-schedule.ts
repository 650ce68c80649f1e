/**
 * Tells of a schedule's missed runs: those that could not begin within the catch-up window, because
 * the server was away. No run is there to tell of itself, and one that was to be the only one has
 * none after it.
 */
import { continueAsNew, sleep, workflowInfo } from '@temporalio/workflow';

import { scheduleId, scheduleWatchWorkflowId } from '../core/ids.ts';
import type { WatchScheduleRequest } from './rollout-messages.ts';
import { storeCalls } from './store-calls.ts';

/** After the catch-up window of a minute it is known whether a run has begun. */
const afterRunMs = 90_000;

/** A schedule that is changed, or deleted, is noticed after this at the latest. */
const longestSleepMs = 24 * 60 * 60_000;

export async function watchSchedule({ schedule, told = 0 }: WatchScheduleRequest): Promise<void> {
  const store = storeCalls();
  let known = told;
  for (;;) {
    const { exists, missed, nextAtMs } = await store.describeSchedule({
      schedule: scheduleId(schedule),
    });
    if (!exists) return;
    if (missed > known) {
      const text = `${missed - known} runs of schedule ${schedule} were missed: the server was away when they were due`;
      const subject = scheduleWatchWorkflowId(schedule);
      await store.notify({ kind: 'failed', subject, text });
    }
    known = missed;
    if (workflowInfo().continueAsNewSuggested) {
      await continueAsNew<typeof watchSchedule>({ schedule, told: known });
    }
    const untilNextMs = nextAtMs === null ? longestSleepMs : nextAtMs - Date.now() + afterRunMs;
    await sleep(Math.min(longestSleepMs, Math.max(afterRunMs, untilNextMs)));
  }
}

/**
 * One run of a schedule: rolls the fleet out under an id that follows from the scheduled time, and
 * lasts as long as that, so that the schedule's overlap policy sees it.
 */
import { defineSearchAttributeKey, WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  continueAsNew,
  sleep,
  startChild,
  workflowInfo,
  type ChildWorkflowHandle,
} from '@temporalio/workflow';

import { fleetWorkflowId, scheduledRolloutId } from '../core/ids.ts';
import { attributePairs } from './attributes.ts';
import type { migrateFleet } from './migrate-fleet.ts';
import type { ScheduledFleetRequest, ScheduledFleetResult } from './rollout-messages.ts';
import { storeCalls } from './store-calls.ts';

/** Between two looks at a rollout of the fleet that somebody else has started. */
const lookMs = 30_000;

const scheduledStart = defineSearchAttributeKey('TemporalScheduledStartTime', 'DATETIME');

export async function scheduledFleet(
  request: ScheduledFleetRequest,
): Promise<ScheduledFleetResult> {
  const { fleet, schedule, overlap } = request;
  const { typedSearchAttributes, startTime } = workflowInfo();
  const at = typedSearchAttributes.get(scheduledStart) ?? startTime;
  const rolloutId = request.rolloutId ?? scheduledRolloutId(at);
  const store = storeCalls();
  const workflowId = fleetWorkflowId(fleet);
  for (;;) {
    const started = await start(request, rolloutId);
    if (started !== null) return { ...(await started.result()), rolloutId };
    const [run] = await store.describeRuns({ workflowIds: [workflowId] });
    const isOurs = run?.rolloutId === rolloutId;
    if (run?.state === 'running' && overlap === 'skip' && !isOurs) {
      const reason = `${rolloutId} is left out: rollout ${run.rolloutId ?? '?'} of fleet ${fleet} is under way`;
      await store.notify({ kind: 'failed', subject: `schedule/${schedule}`, text: reason });
      return { outcome: 'skipped', rolloutId, reason };
    }
    await sleep(lookMs);
    // A rollout that soaks for a week is waited for as long.
    if (workflowInfo().continueAsNewSuggested) {
      await continueAsNew<typeof scheduledFleet>({ ...request, rolloutId });
    }
  }
}

/** Null while another rollout of the fleet runs. */
async function start(
  request: ScheduledFleetRequest,
  rolloutId: string,
): Promise<ChildWorkflowHandle<typeof migrateFleet> | null> {
  const { fleet, schedule, snapshot, policy, searchAttributes = [] } = request;
  const requestedBy = `schedule ${schedule}`;
  try {
    return await startChild<typeof migrateFleet>('migrateFleet', {
      workflowId: fleetWorkflowId(fleet),
      args: [{ fleet, rolloutId, snapshot, policy, requestedBy, searchAttributes }],
      memo: { rolloutId, snapshot },
      typedSearchAttributes: attributePairs(searchAttributes, {
        QuorumshiftFleet: fleet,
        QuorumshiftState: 'running',
      }),
      parentClosePolicy: 'ABANDON',
      cancellationType: 'ABANDON',
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    return null;
  }
}

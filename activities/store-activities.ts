/** Activities on `quorumshift-store`: what workflows keep in, and read from, the control store. */
import { Context } from '@temporalio/activity';
import {
  ScheduleNotFoundError,
  WorkflowNotFoundError,
  type Client,
  type ScheduleDescription,
} from '@temporalio/client';

import type { ControlStore } from '../control/control-store.ts';
import { windowAt } from '../control/windows.ts';
import type { Notice, RunAnswer, ScheduleAnswer, StoreActivities } from './contract.ts';
import { asActivity } from './temporal-attempt.ts';

/** Each is a call to the server; more at once only wait there. */
const describedAtOnce = 8;

/** A server that does not answer within this is asked again by the next attempt. */
const askTimeoutMs = 5_000;

export interface StoreContext {
  readonly store: ControlStore;
  readonly client: Client;
  /** Whether anybody is told; what nobody is told of is not kept either. */
  readonly notifies: boolean;
}

export function createStoreActivities(context: StoreContext): StoreActivities {
  const { store, client, notifies } = context;
  const { snapshots, rollouts } = store;
  return {
    readFleetPage: asActivity((request) => snapshots.page(request)),
    readClusterRollout: asActivity((request) => snapshots.cluster(request)),
    audit: asActivity(async (entry) => {
      await store.audit.append(entry);
    }),
    notify: asActivity(async (notice) => {
      if (notifies) await store.notices.put({ ...notice, id: noticeId(notice) });
    }),
    windowAt: asActivity(async ({ windows, atMs }) => windowAt(windows, atMs)),
    openRollout: asActivity((request) => rollouts.open(request)),
    recordResult: asActivity((request) => rollouts.record(request)),
    endedClusters: asActivity((request) => rollouts.results(request)),
    describeSchedule: asActivity(({ schedule }) => describeSchedule(client, schedule)),
    describeRuns: asActivity(({ workflowIds }) => describeRuns(client, workflowIds)),
  };
}

/** The same for each attempt of one activity, so that a repeated one is one notice. */
function noticeId({ kind }: Notice): string {
  const { workflowExecution, activityId } = Context.current().info;
  const { workflowId = '', runId = '' } = workflowExecution ?? {};
  return `${workflowId}/${runId}/${activityId}/${kind}`;
}

async function describeRuns(client: Client, workflowIds: readonly string[]): Promise<RunAnswer[]> {
  const answers: RunAnswer[] = [];
  for (let at = 0; at < workflowIds.length; at += describedAtOnce) {
    const some = workflowIds.slice(at, at + describedAtOnce);
    answers.push(...(await Promise.all(some.map((id) => describeRun(client, id)))));
  }
  return answers;
}

async function describeRun(client: Client, workflowId: string): Promise<RunAnswer> {
  try {
    const run = await client.withDeadline(Date.now() + askTimeoutMs, () =>
      client.workflow.getHandle(workflowId).describe(),
    );
    const rolloutId = run.memo?.['rolloutId'];
    return {
      workflowId,
      state: run.status.name === 'RUNNING' ? 'running' : 'closed',
      rolloutId: typeof rolloutId === 'string' ? rolloutId : null,
    };
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError)) throw error;
    return { workflowId, state: 'absent', rolloutId: null };
  }
}

async function describeSchedule(client: Client, schedule: string): Promise<ScheduleAnswer> {
  try {
    const { info } = await client.withDeadline(
      Date.now() + askTimeoutMs,
      (): Promise<ScheduleDescription> => client.schedule.getHandle(schedule).describe(),
    );
    const [next] = info.nextActionTimes;
    return {
      exists: true,
      missed: info.numActionsMissedCatchupWindow,
      nextAtMs: next === undefined ? null : next.getTime(),
    };
  } catch (error) {
    if (!(error instanceof ScheduleNotFoundError)) throw error;
    return { exists: false, missed: 0, nextAtMs: null };
  }
}

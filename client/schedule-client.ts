/**
 * Schedules of fleets' rollouts, kept by the Temporal server: recurring ones and single ones. What
 * a schedule has started goes on by itself, whatever becomes of the schedule.
 */
import {
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  type Client,
  type ScheduleDescription,
  type ScheduleHandle,
  type ScheduleSpec,
} from '@temporalio/client';

import { fail, hasCode } from '../core/errors.ts';
import {
  controlTaskQueue,
  scheduledRolloutId,
  scheduledRunWorkflowId,
  scheduleId,
  scheduleWatchWorkflowId,
} from '../core/ids.ts';
import { fleetScheduleSchema, type FleetSchedule } from '../schemas/fleet-schedule.ts';
import type { ScheduledFleetRequest } from '../workflows/rollout-messages.ts';
import type { watchSchedule } from '../workflows/watch-schedule.ts';
import { SearchAttributes } from './search-attributes.ts';
import type { ClientOptions } from './workflow-calls.ts';

/** A run that cannot begin for so long is missed, and told of; by default that is a year. */
const catchupWindow = '1 minute';

/** Of what comes next. */
const shownTimes = 5;

const idPrefix = scheduleId('');

export interface ScheduledRun {
  readonly rolloutId: string;
  readonly scheduledAt: string;
  readonly startedAt: string;
}

export interface ScheduleReport {
  readonly schedule: string;
  readonly fleet: string;
  readonly snapshot: string;
  readonly when: FleetSchedule['when'];
  readonly timeZone: string;
  readonly overlap: FleetSchedule['overlap'];
  readonly paused: boolean;
  readonly note: string;
  readonly requestedBy: string;
  /** ISO 8601, UTC, the nearest first; empty for one that is over, or paused. */
  readonly next: readonly string[];
  /** The newest first. */
  readonly recent: readonly ScheduledRun[];
  readonly running: number;
  /** Runs that could not begin within a minute of their time: the server was away. */
  readonly missed: number;
  /** Runs that were left out because the one before was under way. */
  readonly skipped: number;
}

export class ScheduleClient {
  readonly #client: Client;
  readonly #searchAttributes: SearchAttributes;

  constructor({ client }: Pick<ClientOptions, 'client'>) {
    this.#client = client;
    this.#searchAttributes = new SearchAttributes(client);
  }

  /** @throws `schedule.exists`, `usage.invalid` for times that the server does not understand */
  async create(given: FleetSchedule): Promise<void> {
    const { schedule, fleet, snapshot, policy, overlap, when } = given;
    const searchAttributes = await this.#searchAttributes.ours();
    const run: ScheduledFleetRequest = {
      schedule,
      fleet,
      snapshot,
      policy,
      overlap,
      searchAttributes,
    };
    try {
      await this.#client.schedule.create({
        scheduleId: scheduleId(schedule),
        spec: specOf(given),
        action: {
          type: 'startWorkflow',
          workflowType: 'scheduledFleet',
          workflowId: scheduledRunWorkflowId(schedule),
          taskQueue: controlTaskQueue,
          args: [run],
        },
        policies: { catchupWindow, overlap: overlap === 'skip' ? 'SKIP' : 'BUFFER_ONE' },
        memo: memoOf(given),
        state: {
          paused: given.paused,
          ...(given.note !== '' && { note: given.note }),
          ...('at' in when && { remainingActions: 1 }),
        },
      });
    } catch (error) {
      if (error instanceof ScheduleAlreadyRunning) throw fail('schedule.exists', { schedule });
      // What the SDK makes of times that the server does not understand.
      if (!(error instanceof TypeError)) throw error;
      const reason = `the times of schedule ${schedule} are refused: ${error.message}`;
      throw fail('usage.invalid', { reason }, { cause: error });
    }
    await this.#client.workflow.start<typeof watchSchedule>('watchSchedule', {
      workflowId: scheduleWatchWorkflowId(schedule),
      taskQueue: controlTaskQueue,
      args: [{ schedule }],
      // One of an earlier schedule of this name would count its missed runs.
      workflowIdConflictPolicy: 'TERMINATE_EXISTING',
    });
  }

  /** @throws `schedule.not-found` */
  async describe(schedule: string): Promise<ScheduleReport> {
    return reportOf(await this.#found(schedule, (handle) => handle.describe()));
  }

  /** By name; describes each, which takes the server a moment. */
  async list(options: { readonly limit: number }): Promise<ScheduleReport[]> {
    const names: string[] = [];
    for await (const { scheduleId: id } of this.#client.schedule.list()) {
      if (id.startsWith(idPrefix)) names.push(id.slice(idPrefix.length));
      if (names.length >= options.limit) break;
    }
    const reports: ScheduleReport[] = [];
    for (const name of names.toSorted()) {
      const report = await this.describe(name).catch((error: unknown) => {
        // Deleted meanwhile: the list lags by a moment.
        if (hasCode(error, 'schedule.not-found')) return null;
        throw error;
      });
      if (report !== null) reports.push(report);
    }
    return reports;
  }

  /** No run begins; one that is under way goes on. @throws `schedule.not-found` */
  async pause(schedule: string, note: string): Promise<void> {
    await this.#found(schedule, (handle) => handle.pause(note));
  }

  /** @throws `schedule.not-found` */
  async resume(schedule: string, note: string): Promise<void> {
    await this.#found(schedule, (handle) => handle.unpause(note));
  }

  /** One run now, within its overlap policy. @throws `schedule.not-found` */
  async trigger(schedule: string): Promise<void> {
    await this.#found(schedule, async (handle) => {
      const { policies } = await handle.describe();
      // Otherwise it would begin beside one that is under way.
      await handle.trigger(policies.overlap);
    });
  }

  /** What it has started goes on. @throws `schedule.not-found` */
  async delete(schedule: string): Promise<void> {
    await this.#found(schedule, (handle) => handle.delete());
  }

  async #found<Answer>(
    schedule: string,
    call: (handle: ScheduleHandle) => Promise<Answer>,
  ): Promise<Answer> {
    try {
      return await call(this.#client.schedule.getHandle(scheduleId(schedule)));
    } catch (error) {
      if (error instanceof ScheduleNotFoundError) throw fail('schedule.not-found', { schedule });
      throw error;
    }
  }
}

function specOf({ when, timeZone }: FleetSchedule): ScheduleSpec {
  if ('cron' in when) return { cronExpressions: when.cron, timezone: timeZone };
  if ('everySeconds' in when) {
    const { everySeconds, offsetSeconds } = when;
    return { intervals: [{ every: everySeconds * 1000, offset: offsetSeconds * 1000 }] };
  }
  const at = new Date(when.at);
  return {
    calendars: [
      {
        year: at.getUTCFullYear(),
        month: monthNames[at.getUTCMonth()] ?? 'JANUARY',
        dayOfMonth: at.getUTCDate(),
        hour: at.getUTCHours(),
        minute: at.getUTCMinutes(),
        second: at.getUTCSeconds(),
      },
    ],
  };
}

const monthNames = [
  'JANUARY',
  'FEBRUARY',
  'MARCH',
  'APRIL',
  'MAY',
  'JUNE',
  'JULY',
  'AUGUST',
  'SEPTEMBER',
  'OCTOBER',
  'NOVEMBER',
  'DECEMBER',
] as const;

/** The server gives its own form of the times back: ours goes beside it. */
const memoSchema = fleetScheduleSchema.pick({
  fleet: true,
  snapshot: true,
  when: true,
  timeZone: true,
  overlap: true,
  requestedBy: true,
});

function memoOf(given: FleetSchedule): Record<string, unknown> {
  const { fleet, snapshot, when, timeZone, overlap, requestedBy } = given;
  return { fleet, snapshot, when, timeZone, overlap, requestedBy };
}

/** @throws `schedule.not-found` for one under our prefix that we did not make */
function reportOf({ scheduleId: id, memo, state, info }: ScheduleDescription): ScheduleReport {
  const schedule = id.slice(idPrefix.length);
  const parsed = memoSchema.safeParse(memo ?? {});
  if (!parsed.success) throw fail('schedule.not-found', { schedule }, { cause: parsed.error });
  const { fleet, snapshot, when, timeZone, overlap, requestedBy } = parsed.data;
  const { paused, note = '', remainingActions } = state;
  const isOver = remainingActions === 0;
  return {
    schedule,
    fleet,
    snapshot,
    when,
    timeZone,
    overlap,
    requestedBy,
    paused,
    note,
    next: isOver ? [] : info.nextActionTimes.slice(0, shownTimes).map((time) => time.toISOString()),
    recent: info.recentActions.toReversed().map(({ scheduledAt, takenAt }) => ({
      rolloutId: scheduledRolloutId(scheduledAt),
      scheduledAt: scheduledAt.toISOString(),
      startedAt: takenAt.toISOString(),
    })),
    running: info.runningActions.length,
    missed: info.numActionsMissedCatchupWindow,
    skipped: info.numActionsSkippedOverlap,
  };
}

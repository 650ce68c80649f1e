/** Schedules of fleets' rollouts. */
import type { ScheduleClient } from '../../client/schedule-client.ts';
import { assert, hasCode } from '../../core/errors.ts';
import { scheduleId } from '../../core/ids.ts';
import type { FleetSchedule } from '../../schemas/fleet-schedule.ts';
import { mayReasonSchema } from '../../schemas/http/operation.ts';
import {
  createScheduleSchema,
  scheduleFilterSchema,
  scheduleListSchema,
  scheduleOperationSchema,
  scheduleParamsSchema,
  scheduleSchema,
  type CreateSchedule,
} from '../../schemas/http/schedule.ts';
import type { Asker, Change } from '../changes.ts';
import { answer, reader, type ApiApp, type ApiContext } from '../context.ts';
import { limits } from '../limits.ts';
import { rolloutsOf } from '../rollout-input.ts';

const tags = ['schedules'];

export function addSchedules(app: ApiApp, context: ApiContext): void {
  addReads(app, context);
  addCreation(app, context);
  addSteering(app, context);
}

function addReads(app: ApiApp, context: ApiContext): void {
  const { schedules } = context.clients(reader);
  app.get(
    '/v1/schedules',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'List schedules by name, with their next and recent runs',
        operationId: 'listSchedules',
        querystring: scheduleFilterSchema,
        response: { 200: scheduleListSchema },
      },
    },
    async (request) => answer({ items: await schedules.list(request.query) }),
  );
  app.get(
    '/v1/schedules/:schedule',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'When a schedule runs next, what it ran, what it missed',
        operationId: 'getSchedule',
        params: scheduleParamsSchema,
        response: { 200: scheduleSchema },
      },
    },
    async (request) => answer(await schedules.describe(request.params.schedule)),
  );
}

function addCreation(app: ApiApp, context: ApiContext): void {
  const { changes, clients, store } = context;
  app.post(
    '/v1/schedules',
    {
      config: { role: 'admin' },
      bodyLimit: limits.selectionBytes,
      schema: {
        tags,
        summary: 'Roll a fleet out once, or again and again; each run follows one snapshot',
        operationId: 'createSchedule',
        body: createScheduleSchema,
        response: { 202: scheduleOperationSchema },
      },
    },
    async (request, reply) => changes.take(request, reply, (as) => creation(request.body, as)),
  );

  function creation(given: CreateSchedule, as: Asker): Change {
    const { reason, selection, ...rest } = given;
    const { schedule } = given;
    return {
      action: 'schedule.create',
      subject: scheduleId(schedule),
      reason,
      does: async () => {
        const rollouts = await rolloutsOf(context, { policy: given.policy, selection }, as);
        const [first] = rollouts;
        assert(first !== undefined, 'a selection that is not refused has a cluster');
        const { policy, requestedBy } = first;
        const snapshot = await store.snapshots.put(rollouts);
        return {
          digests: [snapshot],
          run: async () => {
            const { schedules } = clients(as.by);
            await createOnce(schedules, { ...rest, policy, snapshot, requestedBy });
            return { schedule };
          },
        };
      },
    };
  }
}

/** A call that is repeated finds the schedule that it made: by its snapshot, which is its own. */
async function createOnce(schedules: ScheduleClient, given: FleetSchedule): Promise<void> {
  try {
    await schedules.create(given);
  } catch (error) {
    if (!hasCode(error, 'schedule.exists')) throw error;
    const { snapshot } = await schedules.describe(given.schedule);
    if (snapshot !== given.snapshot) throw error;
  }
}

function addSteering(app: ApiApp, { changes, clients }: ApiContext): void {
  act('POST', 'pause', {
    summary: 'Begin no run; one that is under way goes on',
    body: mayReasonSchema,
    run: (schedules, schedule, reason) => schedules.pause(schedule, reason),
  });
  act('POST', 'resume', {
    summary: 'Let runs begin again',
    body: mayReasonSchema,
    run: (schedules, schedule, reason) => schedules.resume(schedule, reason),
  });
  act('POST', 'trigger', {
    summary: 'Run once now, within its overlap policy',
    body: mayReasonSchema,
    run: (schedules, schedule) => schedules.trigger(schedule),
  });
  act('DELETE', 'delete', {
    summary: 'Delete it; what it has started goes on',
    run: (schedules, schedule) => schedules.delete(schedule),
  });

  function act(
    method: 'POST' | 'DELETE',
    name: string,
    does: {
      readonly summary: string;
      readonly body?: typeof mayReasonSchema;
      readonly run: (client: ScheduleClient, schedule: string, reason: string) => Promise<void>;
    },
  ): void {
    app.route({
      method,
      url: `/v1/schedules/:schedule${method === 'DELETE' ? '' : `/${name}`}`,
      config: { role: 'admin' },
      schema: {
        tags,
        summary: does.summary,
        operationId: `${name}Schedule`,
        params: scheduleParamsSchema,
        ...(does.body !== undefined && { body: does.body }),
        response: { 202: scheduleOperationSchema },
      },
      handler: async (request, reply) => {
        const { schedule } = request.params;
        const { reason } = (request.body ?? {}) as { readonly reason?: string };
        return changes.take(request, reply, ({ by }) => ({
          action: `schedule.${name}`,
          subject: scheduleId(schedule),
          reason,
          does: {
            digests: [],
            run: async () => {
              await does.run(clients(by).schedules, schedule, reason ?? by);
              return { schedule };
            },
          },
        }));
      },
    });
  }
}

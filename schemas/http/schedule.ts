/** Schedules of fleets' rollouts, as the HTTP API takes and shows them. */
import { z } from 'zod';

import { fleetScheduleSchema, scheduleTimesSchema } from '../fleet-schedule.ts';
import { nameSchema } from '../names.ts';
import { rolloutPolicySchema } from '../rollout-policy.ts';
import { operationOf, reasonSchema } from './operation.ts';
import { selectionSchema } from './rollout.ts';

export const scheduleParamsSchema = z.strictObject({ schedule: nameSchema });

export const createScheduleSchema = z
  .strictObject({
    ...fleetScheduleSchema.omit({ snapshot: true, policy: true, requestedBy: true }).shape,
    policy: rolloutPolicySchema,
    /** Of the inventory that is present when the schedule is made. */
    selection: selectionSchema.prefault({}),
    reason: reasonSchema.exactOptional(),
  })
  .meta({ id: 'CreateSchedule' });

export const scheduleSchema = z
  .object({
    schedule: z.string(),
    fleet: z.string(),
    snapshot: z.string(),
    when: scheduleTimesSchema,
    timeZone: z.string(),
    overlap: z.enum(['skip', 'buffer-one']),
    paused: z.boolean(),
    note: z.string(),
    requestedBy: z.string(),
    next: z.array(z.string()),
    recent: z.array(
      z.object({ rolloutId: z.string(), scheduledAt: z.string(), startedAt: z.string() }),
    ),
    running: z.number().int(),
    missed: z.number().int(),
    skipped: z.number().int(),
  })
  .meta({ id: 'Schedule' });

export const scheduleListSchema = z
  .object({ items: z.array(scheduleSchema) })
  .meta({ id: 'ScheduleList' });

export const scheduleFilterSchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(50),
});

export const scheduleOperationSchema = operationOf(
  'ScheduleOperation',
  z.object({ schedule: z.string() }),
);

export type CreateSchedule = z.infer<typeof createScheduleSchema>;

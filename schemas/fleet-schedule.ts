/** When a fleet is rolled out by itself: once, or again and again. */
import { z } from 'zod';

import { nameSchema } from './names.ts';
import { rolloutPolicySchema } from './rollout-policy.ts';

/** A year, for an interval; shorter than a minute no rollout makes sense. */
const longestIntervalSeconds = 31_536_000;
const shortestIntervalSeconds = 60;

export const scheduleTimesSchema = z.union([
  z.strictObject({
    /** Five fields each: `0 22 * * sat`; in the schedule's time zone. */
    cron: z.array(z.string().min(1)).min(1).max(20),
  }),
  z.strictObject({
    everySeconds: z.number().int().min(shortestIntervalSeconds).max(longestIntervalSeconds),
    /** After a multiple of the interval since 1970. */
    offsetSeconds: z.number().int().min(0).default(0),
  }),
  /** Once. */
  z.strictObject({ at: z.iso.datetime({ offset: true }) }),
]);

export const fleetScheduleSchema = z.strictObject({
  schedule: nameSchema,
  fleet: nameSchema,
  /** Digest of the stored snapshot that each run follows. */
  snapshot: z.string().min(1),
  /** The snapshot's. */
  policy: rolloutPolicySchema,
  when: scheduleTimesSchema,
  /** IANA name; of cron expressions. */
  timeZone: z.string().default('UTC'),
  /** When a run is due while the fleet is still rolled out: leave it out, or let one wait. */
  overlap: z.enum(['skip', 'buffer-one']).default('skip'),
  /** Begins paused, until it is resumed. */
  paused: z.boolean().default(false),
  note: z.string().max(1000).default(''),
  requestedBy: z.string().min(1),
});

export type FleetSchedule = z.infer<typeof fleetScheduleSchema>;

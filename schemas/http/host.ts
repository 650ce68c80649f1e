/** Machines and their agents, as Temporal sees them. */
import { z } from 'zod';

import { nameSchema } from '../names.ts';

export const hostParamsSchema = z.strictObject({ host: nameSchema });

const pollerSchema = z.object({
  identity: z.string(),
  /** Temporal lists a poller for five minutes after it was last here. */
  lastSeenAt: z.string().nullable(),
});

export const hostSchema = z
  .object({
    host: z.string(),
    /** Who asks for the work of this machine: its agent, when one runs. */
    steps: z.array(pollerSchema).describe('of the queue of steps'),
    control: z.array(pollerSchema).describe('of the queue that steers them'),
    /** Members that the present inventory places here. */
    members: z.array(z.object({ cluster: z.string(), member: z.string() })),
  })
  .meta({ id: 'Host' });

export const hostListSchema = z
  .object({
    items: z.array(
      z.object({
        host: z.string(),
        agentId: z.string().nullable().describe('that the inventory demands'),
        members: z.number().int(),
      }),
    ),
  })
  .meta({ id: 'HostList' });

/** Machines and their agents: what the inventory says of them, and what they say themselves. */
import { z } from 'zod';

import { phaseNames } from '../../core/phases.ts';
import { replicaNameSchema } from '../migration.ts';
import { nameSchema } from '../names.ts';
import { findingSchema } from './migration.ts';

export const hostParamsSchema = z.strictObject({ host: nameSchema });

const agentSchema = z
  .object({
    agentId: z.string(),
    contractVersions: z.object({ min: z.number().int(), max: z.number().int() }),
    version: z.string().describe('of its release'),
    nowMs: z.number().describe('its clock, milliseconds since 1970'),
    findings: z.array(findingSchema),
  })
  .meta({ id: 'Agent' });

const hostedReplicaSchema = z
  .object({
    replica: replicaNameSchema,
    /** Null: a directory without a record. */
    primary: z.object({ log: z.string(), parkedTag: z.string().nullable() }).nullable(),
    phase: z.enum(phaseNames).nullable(),
    migrationId: z.string().nullable(),
    problem: z.string().nullable().describe('why its record cannot be read'),
  })
  .meta({ id: 'HostedReplica' });

export const hostSchema = z
  .object({
    host: z.string(),
    /** Null where it gave no answer within 5 s; `problem` says why. */
    agent: agentSchema.nullable(),
    problem: z.string().nullable(),
    /** That its state directory knows; null where it gave no answer. */
    replicas: z.array(hostedReplicaSchema).nullable(),
    /** That the present inventory places here. */
    declared: z.array(replicaNameSchema),
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

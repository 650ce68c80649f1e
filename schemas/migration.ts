/** What a user asks for: the input of a replica's migration. Parsed once, at the border. */
import { z } from 'zod';

import { nameSchema } from './names.ts';

export const replicaNameSchema = z.strictObject({ cluster: nameSchema, member: nameSchema });

export const instanceUrisSchema = z.strictObject({
  log: z.string().min(1),
  meta: z.string().min(1),
  /** Empty: the replica keeps no snapshots. */
  snapshot: z.string(),
  groupId: z.string().min(1).exactOptional(),
});

export const migrationPolicySchema = z.strictObject({
  /** `manual`: the swap waits until an operator approves the proof by its digest. */
  approval: z.enum(['none', 'manual']).default('none'),
  /** How long the replica runs on the target before it may be finalized. */
  soakSeconds: z.number().int().min(0).max(31_536_000).default(0),
  /** `manual`: finalize waits for an operator; until then rollback is possible. */
  finalize: z.enum(['manual', 'auto']).default('manual'),
  /** How often the probe runs while the replica soaks; null: only once, before. */
  probeEverySeconds: z.number().int().min(1).nullable().default(60),
  /** So many in a row that fail, and it rolls back by itself; null: it never does. */
  probeFailures: z.number().int().min(1).nullable().default(3),
  /** Live: how often both are compared again while the replica soaks; null: never. */
  validateEverySeconds: z.number().int().min(1).nullable().default(3600),
  /** Live: a cutover rests on a proof no older than this; null: of any age. */
  proofMaxAgeSeconds: z.number().int().min(1).nullable().default(null),
  /** Live: an append p99 of the last minute above it is a probe that failed; null: no limit. */
  appendP99Ms: z.number().positive().nullable().default(null),
  /** Delete the source at finalize, instead of moving it aside. */
  deleteSource: z.boolean().default(false),
  /** Limit of bulk work; null is none. */
  bytesPerSecond: z.number().int().min(1).nullable().default(null),
});

/**
 * How a replica is moved: while a storage host serves it, or while it is stopped. `binary`: it is
 * not moved; its program is replaced.
 */
export const migrationModeSchema = z.enum(['live', 'stopped', 'binary']);

export const migrationInputSchema = z
  .strictObject({
    contractVersion: z.number().int(),
    /** Part of file names beside the instances. */
    migrationId: z
      .string()
      .regex(/^[A-Za-z0-9_-]{1,32}$/, 'must be 1 to 32 letters, digits, "_" or "-"'),
    replica: replicaNameSchema,
    /** Name of the machine: its agent polls the queues `host-<host>` and `host-<host>-control`. */
    host: nameSchema,
    /** The agent's persisted uuid; null: whichever answers first is pinned. */
    agentId: z.uuid().nullable().default(null),
    source: instanceUrisSchema,
    target: instanceUrisSchema,
    policy: migrationPolicySchema,
    /** Null: live where the machine's storage host serves the replica, else stopped. */
    mode: migrationModeSchema.nullable().default(null),
    /** Who answers that no other voter of the group is at risk, and why. */
    standalone: z
      .strictObject({ by: z.string().min(1), note: z.string() })
      .nullable()
      .default(null),
    requestedBy: z.string().min(1),
  })
  .refine(({ mode, source, target }) => mode !== 'binary' || isSameInstance(source, target), {
    path: ['target'],
    message: 'must be the source: mode "binary" moves no storage',
  });

type InstanceUrisInput = z.infer<typeof instanceUrisSchema>;

function isSameInstance(one: InstanceUrisInput, other: InstanceUrisInput): boolean {
  const { log, meta, snapshot, groupId } = one;
  return (
    log === other.log &&
    meta === other.meta &&
    snapshot === other.snapshot &&
    groupId === other.groupId
  );
}

export type MigrationInput = z.infer<typeof migrationInputSchema>;

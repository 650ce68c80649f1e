/** How carefully clusters are migrated: the policy of a cluster's or a fleet's rollout. */
import { z } from 'zod';

import { instanceUrisSchema, migrationPolicySchema } from './migration.ts';
import { nameSchema } from './names.ts';

/** A count, or a share of all clusters, rounded up: `3`, `"10%"`. */
const shareSchema = z.union([
  z.number().int().min(0),
  z.string().regex(/^(100|\d{1,2})(\.\d+)?%$/, 'must be a count or a percentage such as "10%"'),
]);

const timeOfDay = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'must be a time such as "22:30"');

export const windowSchema = z.strictObject({
  /** Days on which it opens; all when absent. */
  days: z
    .array(z.enum(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']))
    .min(1)
    .exactOptional(),
  from: timeOfDay,
  /** At or before `from`: on the next day. */
  to: timeOfDay,
  /** IANA name. */
  timeZone: z
    .string()
    .default('UTC')
    .refine(isTimeZone, 'must be a time zone such as "Europe/Berlin"'),
});

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

const waveSchema = z.strictObject({
  name: nameSchema.exactOptional(),
  /** How many clusters have begun with the end of this wave: a canary of 1, then "10%", "100%". */
  clusters: shareSchema,
});

export const rolloutPolicySchema = z
  .strictObject({
    /** `binary`: hooks replace the program, the storage stays. `staged`: storage, then binary. */
    shape: z.enum(['storage', 'binary', 'staged']).default('storage'),
    /** Where a member's state goes; {cluster}, {member} and {host} are replaced in each URI. */
    target: z
      .union([z.string().min(1), instanceUrisSchema])
      .nullable()
      .default(null),
    /** Members that go first, in this order; learners before voters, the leader last, whatever. */
    order: z.array(nameSchema).default([]),
    /** Of a fleet. */
    waves: z
      .array(waveSchema)
      .min(1)
      .default([{ clusters: 1 }, { clusters: '10%' }, { clusters: '100%' }]),
    concurrency: z
      .strictObject({
        /** Clusters under way on one machine, before they soak. */
        perMachine: z.number().int().min(1).max(100).default(1),
        /** Clusters under way at once, before they soak. */
        clusters: z.number().int().min(1).max(100).default(10),
        /** Clusters that soak at once; null is no limit. */
        soaking: z.number().int().min(1).nullable().default(null),
      })
      .prefault({}),
    /** Of a fleet: so many clusters may fail before no other one begins. */
    failureBudget: shareSchema.default(0),
    /** Outside of them no member begins and no cutover starts; empty: at any time. */
    windows: z.array(windowSchema).default([]),
    /** At the end of a window a member that is not cut over holds, or gives its mirror up. */
    atWindowEnd: z.enum(['hold', 'detach']).default('hold'),
    /** How long each member runs on its target before it may be finalized. */
    soakSeconds: z.number().int().min(0).max(31_536_000).default(3600),
    /** Who says that cutovers may begin: nobody, or an operator for each cluster or wave. */
    approval: z.enum(['none', 'per-cluster', 'per-wave']).default('none'),
    /** What finalizes once all have soaked: an operator, or the rollout. */
    finalize: z.enum(['manual', 'per-cluster', 'per-wave']).default('manual'),
    /** What a failed member leads to, besides that the cluster stops. */
    onFailure: z.enum(['hold', 'rollback-replica', 'rollback-cluster']).default('hold'),
    /** A member that lacks more than this of what is committed counts as lagging. */
    maxLagEntries: z.number().int().min(0).default(1000),
    /** From its start; what has not been cut over by then is not any more. Null: none. */
    deadlineSeconds: z.number().int().min(1).nullable().default(null),
    /** Of each member; see docs/rollouts.md for what the rollout decides itself. */
    replica: migrationPolicySchema
      .pick({
        probeEverySeconds: true,
        probeFailures: true,
        validateEverySeconds: true,
        proofMaxAgeSeconds: true,
        appendP99Ms: true,
        deleteSource: true,
        bytesPerSecond: true,
      })
      .prefault({}),
  })
  .refine(({ shape, target }) => shape === 'binary' || target !== null, {
    path: ['target'],
    message: 'is missing: where the state goes, such as "rocksdb:///data/{cluster}/{member}"',
  });

export type RolloutPolicy = z.infer<typeof rolloutPolicySchema>;
export type MaintenanceWindow = z.infer<typeof windowSchema>;

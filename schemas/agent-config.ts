/**
 * The agent's own configuration, on its machine. Hooks and adapters come from here alone, never
 * from outside, and instances may lie only under the roots that it lists.
 */
import { z } from 'zod';

import { nameSchema } from './names.ts';

/** Shown as the limit of a hook whose configuration gives none. */
const defaultHookTimeoutSeconds = 300;

/** Program and arguments; no shell. */
const execSchema = z.array(z.string().min(1)).min(1);

const hookSchema = z.union([
  z.literal('none'),
  z.strictObject({
    exec: execSchema,
    timeoutSeconds: z.number().int().min(1).max(3600).default(defaultHookTimeoutSeconds),
  }),
]);

export const hooksSchema = z.strictObject({
  /**
   * Ends the replica's process. A moved replica is kept out by fences, so that it must hold against
   * its supervisor for a moment only; one whose program is replaced must stay down until `start`.
   */
  stop: hookSchema.default('none'),
  /** Makes the replica's configuration name the URIs in QUORUMSHIFT_LOG_URI and its neighbours. */
  repoint: hookSchema.default('none'),
  /**
   * Makes `start` begin another program: the one that is to be, or, where QUORUMSHIFT_DIRECTION is
   * `back`, the one of before.
   */
  replace: hookSchema.default('none'),
  start: hookSchema.default('none'),
  /** Exit code 0: the replica serves. */
  probe: hookSchema.default('none'),
});

/**
 * A member is asked before each cutover, by calls that are given 5 s in all: what takes longer
 * would look like a machine that is away.
 */
const longestAdapterSeconds = 4;

const adapterCommandSchema = z.strictObject({
  exec: execSchema,
  timeoutSeconds: z.number().positive().max(longestAdapterSeconds).default(longestAdapterSeconds),
});

/** How a member is asked what it says of itself and its group: docs/cluster-adapters.md. */
export const adapterSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('http'),
    /** `<url>/status` and `<url>/leader-transfer` are asked. */
    url: z.url({ protocol: /^https?$/ }),
    timeoutSeconds: z.number().positive().max(longestAdapterSeconds).default(longestAdapterSeconds),
  }),
  z.strictObject({
    kind: z.literal('exec'),
    /** Prints one JSON object: the member's view. */
    status: adapterCommandSchema,
    /** Tells the leader, this member, to hand over to QUORUMSHIFT_TO; null: it cannot be told. */
    transferLeadership: adapterCommandSchema.nullable().default(null),
  }),
]);

const replicaKey = z
  .string()
  .regex(
    /^(?!\.{1,2}\/)[A-Za-z0-9._-]{1,64}\/(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$/,
    'must be <cluster>/<member>',
  );

const replicaSchema = z.strictObject({
  /** Replaces the agent's for this replica. */
  hooks: hooksSchema.exactOptional(),
  /** Replaces its cluster's for this replica. */
  adapter: adapterSchema.exactOptional(),
  /** Replicas of this machine with the same process stop together: several groups in one. */
  process: nameSchema.exactOptional(),
});

export const agentConfigSchema = z.strictObject({
  /** The machine's name in task queues: `host-<host>`. */
  host: z.string().regex(/^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$/),
  stateDir: z.string().startsWith('/').default('/var/lib/quorumshift'),
  /** Of this machine's storage host, where one serves replicas. */
  hostAdminSocket: z.string().startsWith('/').default('/run/quorumshift/host-admin.sock'),
  roots: z.array(z.string().startsWith('/')).min(1),
  /** Free space that bulk work leaves on each file system. */
  reserveBytes: z
    .number()
    .int()
    .min(0)
    .default(1024 * 1024 * 1024),
  /**
   * What a process that the agent may not look at means when it looks for open files: `refuse`, or
   * `pass-over` where the operator answers that such processes hold none (an init outside a
   * container, other people's processes on a developer's machine).
   */
  mayNotLook: z.enum(['refuse', 'pass-over']).default('refuse'),
  hooks: hooksSchema.prefault({}),
  /** Of this machine's members of a cluster. */
  clusters: z.record(nameSchema, z.strictObject({ adapter: adapterSchema })).default({}),
  /** By `<cluster>/<member>`. */
  replicas: z.record(replicaKey, replicaSchema).default({}),
});

export type AgentConfig = z.infer<typeof agentConfigSchema>;
export type AdapterConfig = z.infer<typeof adapterSchema>;
export type AdapterCommand = z.infer<typeof adapterCommandSchema>;
export type HookName = keyof z.infer<typeof hooksSchema>;

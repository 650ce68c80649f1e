/**
 * The agent's own configuration, on its machine. Hooks come from here alone, never from outside,
 * and instances may lie only under the roots that it lists.
 */
import { z } from 'zod';

/** Shown as the limit of a hook whose configuration gives none. */
const defaultHookTimeoutSeconds = 300;

const hookSchema = z.union([
  z.literal('none'),
  z.strictObject({
    /** Program and arguments; no shell. */
    exec: z.array(z.string().min(1)).min(1),
    timeoutSeconds: z.number().int().min(1).max(3600).default(defaultHookTimeoutSeconds),
  }),
]);

export const hooksSchema = z.strictObject({
  /** Ends the replica's process; must hold against its supervisor for a moment only. */
  stop: hookSchema.default('none'),
  /** Makes the replica's configuration name the URIs in QUORUMSHIFT_LOG_URI and its neighbours. */
  repoint: hookSchema.default('none'),
  start: hookSchema.default('none'),
  /** Exit code 0: the replica serves. */
  probe: hookSchema.default('none'),
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
  hooks: hooksSchema.default({ stop: 'none', repoint: 'none', start: 'none', probe: 'none' }),
  /** By `<cluster>/<member>`; replaces `hooks` for that replica. */
  replicas: z.record(z.string(), z.strictObject({ hooks: hooksSchema })).default({}),
});

export type AgentConfig = z.infer<typeof agentConfigSchema>;
export type HookName = keyof z.infer<typeof hooksSchema>;

/** Configuration of the control plane's own processes (`control.yaml`). */
import { z } from 'zod';

const timeoutSeconds = z.number().int().min(1).max(60).default(10);

const notifySchema = z.union([
  z.strictObject({
    /**
     * Program and arguments, no shell. The notice is JSON on its standard input; exit code 0: it
     * was taken.
     */
    exec: z.array(z.string().min(1)).min(1),
    timeoutSeconds,
  }),
  z.strictObject({
    /** Gets the notice by POST, as JSON; any 2xx: it was taken. Redirects are not followed. */
    webhook: z.url({ protocol: /^https?$/ }),
    timeoutSeconds,
  }),
]);

/** `127.0.0.1:8240`, `[::1]:8240` */
const placeSchema = z
  .string()
  .regex(/^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, 'must be <host>:<port>')
  .refine((text) => Number(/\d+$/.exec(text)?.[0]) <= 65_535, 'must have a port, 0 to 65535');

const apiConfigSchema = z.strictObject({
  /** Where the HTTP API listens: `<host>:<port>`, port 0 for a free one. */
  listen: placeSchema.default('127.0.0.1:8240'),
  /** `off`: whoever reaches it may do everything; on the loopback interface alone. */
  authentication: z.enum(['tokens', 'off']).default('tokens'),
  /** Of one token, or of one address without. */
  requestsPerMinute: z.number().int().min(1).default(1200),
});

export const controlConfigSchema = z.strictObject({
  /** Of the store: inventory, snapshots, audit trail, tokens. On one machine's own disk. */
  controlDir: z.string().startsWith('/').default('/var/lib/quorumshift/control'),
  /** Who is told when a rollout waits, fails or ends; null: nobody. */
  notify: notifySchema.nullable().default(null),
  api: apiConfigSchema.prefault({}),
});

export type ControlConfig = z.infer<typeof controlConfigSchema>;
export type ApiConfig = z.infer<typeof apiConfigSchema>;
export type NotifyConfig = z.infer<typeof notifySchema>;

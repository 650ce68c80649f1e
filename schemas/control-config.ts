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

export const controlConfigSchema = z.strictObject({
  /** Of the store: inventory, snapshots, audit trail, tokens. On one machine's own disk. */
  controlDir: z.string().startsWith('/').default('/var/lib/quorumshift/control'),
  /** Who is told when a rollout waits, fails or ends; null: nobody. */
  notify: notifySchema.nullable().default(null),
});

export type ControlConfig = z.infer<typeof controlConfigSchema>;
export type NotifyConfig = z.infer<typeof notifySchema>;

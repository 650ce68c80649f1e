/** The storage host's own configuration, on its machine. */
import { z } from 'zod';

import { instanceUrisSchema, replicaNameSchema } from './migration.ts';

/** sun_path of a unix socket has 108 bytes, its end included. */
const maxSocketBytes = 107;

const servedReplicaSchema = replicaNameSchema.extend({
  /** Short form, or the three URIs: its instance where the state directory knows none yet. */
  uri: z.union([z.string().min(1), instanceUrisSchema]),
  /** Make an empty instance where nothing is, and nothing is known of the replica. */
  create: z.boolean().default(false),
});

export const hostConfigSchema = z.strictObject({
  /** Shared with this machine's agent. */
  stateDir: z.string().startsWith('/').default('/var/lib/quorumshift'),
  socket: z
    .string()
    .startsWith('/')
    .refine((path) => Buffer.byteLength(path) <= maxSocketBytes, {
      message: `a socket's path has at most ${maxSocketBytes} bytes`,
    })
    .default('/run/quorumshift/host.sock'),
  /** Who may connect: permissions of the socket, octal. */
  socketMode: z
    .string()
    .regex(/^0?[0-7]{3}$/, 'must be octal, such as "600"')
    .default('600'),
  replicas: z.array(servedReplicaSchema).min(1),
});

export type HostConfig = z.infer<typeof hostConfigSchema>;

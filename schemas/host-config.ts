/** The storage host's own configuration, on its machine. */
import { z } from 'zod';

import { instanceUrisSchema, replicaNameSchema } from './migration.ts';

/** sun_path of a unix socket has 108 bytes, its end included. */
const maxSocketBytes = 107;

const socketPath = z
  .string()
  .startsWith('/')
  .refine((path) => Buffer.byteLength(path) <= maxSocketBytes, {
    message: `a socket's path has at most ${maxSocketBytes} bytes`,
  });

const mode = z
  .string()
  .regex(/^0?[0-7]{3}$/, 'must be octal, such as "600"')
  .default('600');

const snapshotStreamsSchema = z.strictObject({
  /** How long a client may let one stand still. */
  idleMs: z.number().int().min(1).default(60_000),
  /** Under way at once, both ways, of all replicas. */
  most: z.number().int().min(1).default(64),
});

/** Bulk work slows down when the replica's own appends do. */
const appendGuardSchema = z.strictObject({
  /** How many times its usual p99 an append may take. */
  multiple: z.number().min(1).default(1.5),
  /** Bulk work is never slower than this, nor than twice what the replica writes. */
  floorBytesPerSecond: z
    .number()
    .int()
    .min(1)
    .default(8 * 1024 * 1024),
});

const slowMirrorSchema = z.strictObject({
  /** How much longer than the primary a mirror may take for 99 of 100 appends. */
  p99Ms: z.number().min(1),
  /** How long it may take longer than that before it is left. */
  forMs: z.number().int().min(1),
});

const metricsSchema = z.union([
  z.strictObject({ port: z.number().int().min(1).max(65_535) }),
  z.strictObject({ socket: socketPath, mode }),
]);

const servedReplicaSchema = replicaNameSchema.extend({
  /** Short form, or the three URIs: its instance where the state directory knows none yet. */
  uri: z.union([z.string().min(1), instanceUrisSchema]),
  /** Make an empty instance where nothing is, and nothing is known of the replica. */
  create: z.boolean().default(false),
});

export const hostConfigSchema = z.strictObject({
  /** Shared with this machine's agent. */
  stateDir: z.string().startsWith('/').default('/var/lib/quorumshift'),
  socket: socketPath.default('/run/quorumshift/host.sock'),
  /** Who may connect: permissions of the socket, octal. */
  socketMode: mode,
  /** For this machine's operators and agent; absent: beside the other, named after it. */
  adminSocket: socketPath.exactOptional(),
  adminSocketMode: mode,
  /**
   * What is done about a mirror that fails (DUAL-8): `detach` it and go on, or `fail` the operation
   * until it is mended.
   */
  onMirrorFailure: z.enum(['detach', 'fail']).default('detach'),
  /** How much longer than the primary a mirror may take for a mutation, or a part of a snapshot. */
  mirrorLimitMs: z.number().int().min(1).nullable().default(5000),
  /** Of `detach`: when a mirror that is slow for long is left; null is never. */
  slowMirror: slowMirrorSchema.nullable().default(null),
  /** How copies and proofs heed the appends of their replica; null: not at all. */
  appendGuard: appendGuardSchema.nullable().prefault({}),
  /**
   * How often a validation of a pair reads all of both sides; those between read what has changed.
   * 0: each reads everything.
   */
  fullValidationEverySeconds: z.number().int().min(0).default(86_400),
  snapshotStreams: snapshotStreamsSchema.prefault({}),
  /** Prometheus metrics: a port of 127.0.0.1, or a unix socket; null: none. */
  metrics: metricsSchema.nullable().default(null),
  replicas: z.array(servedReplicaSchema).min(1),
});

/** `host.sock` → `host-admin.sock`. */
export function adminSocketOf({ socket, adminSocket }: HostConfig): string {
  return adminSocket ?? `${socket.replace(/\.sock$/, '')}-admin.sock`;
}

export type HostConfig = z.infer<typeof hostConfigSchema>;

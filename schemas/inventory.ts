/**
 * What a platform team says there is: Raft groups, their members, the machines these lie on. A
 * YAML file, checked here; what agents report is compared with it, never merged into it.
 */
import { z } from 'zod';

import { instanceUrisSchema } from './migration.ts';
import { nameSchema } from './names.ts';

/** More voters than this no Raft group has; the input of a cluster's workflow stays below 10 kB. */
const mostMembers = 15;

const inventoryMemberSchema = z.strictObject({
  /** Machine whose agent serves the member. */
  host: nameSchema,
  /** Short form (`local:///data/a`), or the three URIs: where its state lies before a rollout. */
  source: z.union([z.string().min(1), instanceUrisSchema]),
  /** How the group's own configuration calls it; absent: by the member's name. */
  raftId: z.string().min(1).max(256).exactOptional(),
  /** Members of one machine with the same process stop together: several groups in one process. */
  process: nameSchema.exactOptional(),
});

const inventoryClusterSchema = z.strictObject({
  /** For selecting: `env: production`. */
  labels: z.record(nameSchema, z.string().max(256)).default({}),
  members: z
    .record(nameSchema, inventoryMemberSchema)
    .refine((members) => Object.keys(members).length > 0, 'a cluster has at least one member')
    .refine(
      (members) => Object.keys(members).length <= mostMembers,
      `a cluster has at most ${mostMembers} members`,
    ),
});

const machineSchema = z.strictObject({
  /** The persisted uuid of its agent; absent: whichever agent answers under the name. */
  agentId: z.uuid().exactOptional(),
});

export const inventorySchema = z.strictObject({
  version: z.literal(1),
  machines: z.record(nameSchema, machineSchema).default({}),
  clusters: z.record(nameSchema, inventoryClusterSchema),
});

export type Inventory = z.infer<typeof inventorySchema>;
export type InventoryCluster = z.infer<typeof inventoryClusterSchema>;

/** Input of one cluster's rollout, made from inventory and policy: what its workflow is given. */
import { z } from 'zod';

import { instanceUrisSchema } from './migration.ts';
import { nameSchema, rolloutIdSchema } from './names.ts';
import { rolloutPolicySchema } from './rollout-policy.ts';

export const rolloutMemberSchema = z.strictObject({
  member: nameSchema,
  host: nameSchema,
  agentId: z.uuid().nullable(),
  /** How the group's own configuration calls it. */
  raftId: z.string().min(1),
  source: instanceUrisSchema,
  /** Null: its storage stays (shape `binary`). */
  target: instanceUrisSchema.nullable(),
});

export const clusterRolloutSchema = z.strictObject({
  contractVersion: z.number().int(),
  /** Its members' migrations are called by it, a stage and a count: 20 of their 32 letters. */
  rolloutId: rolloutIdSchema,
  cluster: nameSchema,
  members: z.array(rolloutMemberSchema).min(1),
  policy: rolloutPolicySchema,
  requestedBy: z.string().min(1),
});

export type RolloutMember = z.infer<typeof rolloutMemberSchema>;
export type ClusterRollout = z.infer<typeof clusterRolloutSchema>;

/** The proof file: digests of both instances, read back at one cut of one generation (contract, Terms). */
import { z } from 'zod';

import { instanceUrisSchema } from './migration.ts';

const hex = z.string().regex(/^[0-9a-f]{64}$/);

const provedInstanceSchema = z.strictObject({
  uris: instanceUrisSchema,
  root: hex,
  log: hex,
  meta: hex,
  snapshot: hex,
});

export const proofSchema = z.strictObject({
  format: z.literal('quorumshift-proof/1'),
  migrationId: z.string(),
  generation: z.number().int().min(0),
  createdAt: z.string(),
  cut: z.strictObject({ firstIndex: z.string(), lastIndex: z.string() }),
  source: provedInstanceSchema,
  target: provedInstanceSchema,
});

export type Proof = z.infer<typeof proofSchema>;

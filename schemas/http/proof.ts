/** Proofs, and reports of comparisons that found a difference, as the HTTP API shows them. */
import { z } from 'zod';

import { equivalenceReportSchema } from '../equivalence-report.ts';
import { replicaNameSchema } from '../migration.ts';
import { proofFileNameSchema, proofSchema } from '../proof.ts';
import { cursorSchema } from './paging.ts';

export const proofFilterSchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(30).default(30).describe('at most so many'),
  cursor: cursorSchema,
});

export const proofParamsSchema = z.strictObject({
  ...replicaNameSchema.shape,
  file: proofFileNameSchema,
});

export const proofPageSchema = z
  .object({
    /** The machine that keeps them: the one that the replica lies on. */
    host: z.string(),
    items: z.array(
      z.object({
        file: z.string(),
        kind: z.enum(['proof', 'report']),
        bytes: z.number().int(),
        digest: z
          .string()
          .nullable()
          .describe('of a proof, as it is approved; null for a report, and for a damaged file'),
        createdAt: z.string().nullable(),
      }),
    ),
    /** Null at the end. */
    next: z.string().nullable(),
  })
  .meta({ id: 'ProofPage' });

/** Its file as it is on the machine: `quorumshift verify --proof` takes it. */
export const proofAnswerSchema = z.union([
  proofSchema.meta({ id: 'Proof' }),
  equivalenceReportSchema.meta({ id: 'EquivalenceReport' }),
]);

/**
 * A proof: the digests of two instances, read back at one cut of one generation, found equal
 * (EQ-3). A file in the replica's `proofs/`; the binding record names it by file name and digest.
 */
import { z } from 'zod';

import { instanceUrisSchema } from './migration.ts';

const indexText = z.string().regex(/^-?\d{1,19}$/);
const digestText = z.string().regex(/^[0-9a-f]{64}$/);

const provenSideSchema = z.strictObject({ uris: instanceUrisSchema, digest: digestText });

export const proofSchema = z.strictObject({
  format: z.literal('quorumshift-proof/1'),
  migrationId: z.string().min(1),
  generation: z.number().int().min(0),
  cut: z.strictObject({ firstIndex: indexText, lastIndex: indexText, term: indexText }),
  source: provenSideSchema,
  target: provenSideSchema,
  /** Digests of the parts, the same on both sides. */
  parts: z.strictObject({ log: digestText, meta: digestText, snapshot: digestText }),
  /** ISO 8601, UTC. */
  createdAt: z.string().min(1),
  /**
   * When the full read of both began that it rests on; what has changed since was read again.
   * Absent: both were read wholly for this proof alone.
   */
  readSince: z.string().min(1).exactOptional(),
});

/** Of a proof or a report: as `validate` names them, and nothing that leads elsewhere. */
export const proofFileNameSchema = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,120}\.json$/, 'must be the name of a proof or a report');

export type Proof = z.infer<typeof proofSchema>;

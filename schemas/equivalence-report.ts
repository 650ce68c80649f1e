/** What a failed comparison tells (EQ-4): where two states differ first, how, and what can be done. */
import { z } from 'zod';

export const equivalenceReportSchema = z.strictObject({
  equal: z.literal(false),
  part: z.enum(['log', 'metadata', 'snapshot']),
  /** structural: what is there; content: what it holds; freshness: one is ahead. */
  kind: z.enum(['structural', 'content', 'freshness']),
  /** Earliest differing log index; null where it is no log entry. */
  index: z.string().nullable(),
  /** Differing snapshot file, or the name of the differing field. */
  path: z.string().nullable(),
  first: z.string(),
  second: z.string(),
  summary: z.string(),
  remedy: z.string(),
});

export type EquivalenceReport = z.infer<typeof equivalenceReportSchema>;

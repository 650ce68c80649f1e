/**
 * What a failed comparison reports (EQ-4): every part that differs, the earliest difference first.
 */
import { z } from 'zod';

/** An index as a decimal string: int64 does not fit a JSON number. */
const indexText = z.string().regex(/^-?\d{1,19}$/);

export const differenceSchema = z.strictObject({
  part: z.enum(['log', 'metadata', 'snapshot']),
  /**
   * `structural`: a part or a place is there on one side only; `content`: the same place holds
   * other values; `freshness`: one side is an earlier state of the other.
   */
  kind: z.enum(['structural', 'content', 'freshness']),
  /** The earliest differing index of the log; null for the other parts. */
  index: indexText.nullable(),
  /** Field of the metadata, or path of the snapshot's file; null for the log. */
  path: z.string().nullable(),
  /** Both values in words; long ones by length and hash. */
  a: z.string(),
  b: z.string(),
  remedy: z.string(),
});

export const equivalenceReportSchema = z.strictObject({
  format: z.literal('quorumshift-equivalence-report/1'),
  equal: z.literal(false),
  /** The first difference in one line. */
  summary: z.string(),
  a: z.strictObject({ name: z.string(), digest: z.string() }),
  b: z.strictObject({ name: z.string(), digest: z.string() }),
  /** At most one of each part, in the order log, metadata, snapshot. */
  differences: z.array(differenceSchema).min(1),
});

export type Difference = z.infer<typeof differenceSchema>;
export type EquivalenceReport = z.infer<typeof equivalenceReportSchema>;

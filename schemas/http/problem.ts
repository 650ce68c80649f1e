/** What the HTTP API answers instead of what was asked for (RFC 9457). */
import { z } from 'zod';

/** A field or parameter that is wrong. */
export const fieldProblemSchema = z.object({
  in: z.enum(['body', 'query', 'path', 'header']),
  /** RFC 6901, within the body, or the name of the parameter after a slash. */
  pointer: z.string(),
  detail: z.string(),
});

export const problemSchema = z
  .object({
    /** `urn:quorumshift:error:<code>`; docs/errors.md tells of each. */
    type: z.string(),
    title: z.string(),
    status: z.number().int().min(400).max(599),
    /** The action, the required state and the actual one. */
    detail: z.string(),
    code: z.string(),
    remedy: z.string(),
    /** Whether the same call may succeed later without anyone changing anything. */
    retryable: z.boolean(),
    /** Names this one request in the server's log. */
    instance: z.string(),
    errors: z.array(fieldProblemSchema).exactOptional(),
    /** The values within `detail`, by the names that docs/errors.md gives them. */
    details: z.record(z.string(), z.string()),
  })
  .meta({ id: 'Problem' });

export type FieldProblem = z.infer<typeof fieldProblemSchema>;
export type Problem = z.infer<typeof problemSchema>;

/** A change that was asked of the API: where it stands, and what came of it. */
import { z } from 'zod';

import { problemSchema } from './problem.ts';

/** What all operations have in common. */
const operationFields = {
  id: z.uuid(),
  /** `migration.start`, `cluster.pause`, … */
  action: z.string(),
  /** `replica/<cluster>/<member>`, `cluster/<name>`, `fleet/<name>`, … */
  subject: z.string(),
  /** Name and id of the token that asked for it. */
  by: z.string(),
  state: z.enum(['running', 'done', 'failed']),
  createdAt: z.string(),
  endedAt: z.string().nullable(),
  /** Why it failed. */
  problem: problemSchema.nullable(),
};

export const operationSchema = z
  .object({
    ...operationFields,
    result: z.unknown().describe('of its own kind; null until it is done'),
  })
  .meta({ id: 'Operation' });

/** An operation whose result is of one kind; null until it is done. */
export function operationOf<Result extends z.ZodType>(id: string, result: Result) {
  return z.object({ ...operationFields, result: result.nullable() }).meta({ id });
}

/** Of steering: a wish that was taken. What it leads to is in the status. */
export const acceptedSchema = z
  .object({
    /** False when this operation had come through before. */
    fresh: z.boolean(),
    /** Of a rollback: the migration stands paused, and takes no step back before it is resumed. */
    paused: z.boolean().exactOptional(),
  })
  .meta({ id: 'Accepted' });

export const steeringSchema = operationOf('SteeringOperation', acceptedSchema);

/** Why; it goes into the audit trail. */
export const reasonSchema = z.string().min(1).max(500);

export const mayReasonSchema = z.strictObject({ reason: reasonSchema.exactOptional() });
export const mustReasonSchema = z.strictObject({ reason: reasonSchema });
export const throttleSchema = z.strictObject({
  /** Null removes the limit. */
  bytesPerSecond: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER).nullable(),
  reason: reasonSchema.exactOptional(),
});

export type OperationAnswer = z.infer<typeof operationSchema>;

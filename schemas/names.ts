/** Names as they stand in paths, workflow ids and task queues. */
import { z } from 'zod';

export const nameSchema = z
  .string()
  .regex(
    /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$/,
    'must be 1 to 64 letters, digits, ".", "_" or "-", and not "." or ".."',
  );

/** Part of the ids of its members' migrations. */
export const rolloutIdSchema = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,20}$/, 'must be 1 to 20 letters, digits, "_" or "-"');

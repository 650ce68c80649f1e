/** Lists are given in pages; a cursor says where the next one begins, and for which filters. */
import { z } from 'zod';

export const limitSchema = z.coerce
  .number()
  .int()
  .min(1)
  .max(200)
  .default(50)
  .describe('at most so many');

export const cursorSchema = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,1200}$/, 'is no cursor')
  .exactOptional()
  .describe('`next` of the page before, under the same filters');

export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.object({
    items: z.array(item),
    /** Null at the end. */
    next: z.string().nullable(),
  });
}

/** `?dryRun=true`: what would be done, and nothing is. */
export const dryRunSchema = z.object({
  dryRun: z.enum(['true', 'false']).default('false'),
});

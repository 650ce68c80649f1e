/** Cursors of lists: opaque to clients, good under the filters that they were made for alone. */
import { createHash } from 'node:crypto';

import { z } from 'zod';

import { canonicalJson } from '../core/canonical-json.ts';
import { fail } from '../core/errors.ts';

const contentSchema = z.strictObject({ of: z.string(), at: z.string() });

export function cursorOf(filters: unknown, at: string): string {
  const content = JSON.stringify({ of: digestOf(filters), at });
  return Buffer.from(content).toString('base64url');
}

/** Where the page begins; null at the first. @throws `request.invalid` */
export function placeOf(filters: unknown, cursor: string | undefined): string | null {
  if (cursor === undefined) return null;
  const content = contentSchema.safeParse(jsonOf(cursor));
  if (content.success && content.data.of === digestOf(filters)) return content.data.at;
  const reason = 'its cursor must be "next" of the page before, under the same filters';
  throw fail('request.invalid', { reason });
}

function jsonOf(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
  } catch {
    return null;
  }
}

function digestOf(filters: unknown): string {
  return createHash('sha256').update(canonicalJson(filters)).digest('base64url').slice(0, 16);
}

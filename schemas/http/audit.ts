/** The audit trail, as the HTTP API shows it. */
import { z } from 'zod';

import { cursorSchema, limitSchema, pageOf } from './paging.ts';

const text = z.string().min(1).max(256);
const moment = z.iso.datetime();

const filters = {
  by: text.exactOptional(),
  action: text.exactOptional(),
  /** With what lies below it: `cluster/kv`; `replica/kv` has its members. */
  subject: text.exactOptional(),
  since: moment.exactOptional().describe('written then or later'),
  until: moment.exactOptional().describe('written before then'),
};

export const auditFilterSchema = z.strictObject({
  ...filters,
  limit: limitSchema,
  cursor: cursorSchema,
});

export const auditEntrySchema = z
  .object({
    seq: z.number().int().min(1),
    id: z.string(),
    at: z.string(),
    by: z.string(),
    role: z.string().nullable().describe('of the token; null for workflows and commands'),
    action: z.string(),
    subject: z.string(),
    reason: z.string(),
    digests: z.array(z.string()),
    outcome: z.string().nullable().describe('of a line that tells how an operation ended'),
    previous: z.string(),
    hash: z.string(),
  })
  .meta({ id: 'AuditLine' });

export const auditPageSchema = pageOf(auditEntrySchema).meta({ id: 'AuditPage' });

export const auditVerificationSchema = z
  .object({
    whole: z.boolean(),
    /** Lines that follow each other from the first one. */
    lines: z.number().int(),
    /** Of the last of them: keep it elsewhere, to show later that nothing was written anew. */
    hash: z.string(),
    problem: z.string().nullable(),
  })
  .meta({ id: 'AuditVerification' });

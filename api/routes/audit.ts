/** The audit trail: read, verified, exported; nothing here changes it. */
import { Readable } from 'node:stream';

import type { FastifyReply } from 'fastify';
import { z } from 'zod';

import { auditLines, verifyStore } from '../../control/audit-verification.ts';
import type { ControlStore } from '../../control/control-store.ts';
import { fail } from '../../core/errors.ts';
import {
  auditFilterSchema,
  auditPageSchema,
  auditVerificationSchema,
} from '../../schemas/http/audit.ts';
import { answer, type ApiApp, type ApiContext } from '../context.ts';
import { cursorOf, placeOf } from '../cursor.ts';

const tags = ['audit'];

export function addAudit(app: ApiApp, { store }: ApiContext): void {
  app.get(
    '/v1/audit',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'List who changed what, newest first',
        operationId: 'listAudit',
        querystring: auditFilterSchema,
        response: { 200: auditPageSchema },
      },
    },
    async (request) => {
      const { limit, cursor, ...filters } = request.query;
      const place = placeOf(filters, cursor);
      const items = await store.audit.page({
        ...filters,
        limit,
        newestFirst: true,
        ...(place !== null && { after: lineNumber(place) }),
      });
      const last = items.at(-1);
      const more = items.length === limit && last !== undefined && last.seq > 1;
      return answer({ items, next: more ? cursorOf(filters, String(last.seq)) : null });
    },
  );
  app.get(
    '/v1/audit/verification',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'Follow the chain from its first line, and hold its end against the kept one',
        operationId: 'verifyAudit',
        response: { 200: auditVerificationSchema },
      },
    },
    async () => {
      const { ok, lines, head, problem } = await verifyStore(store);
      return { whole: ok, lines, hash: head.hash, problem };
    },
  );
  app.get(
    '/v1/audit/export',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'The whole trail, a line of JSON each, oldest first',
        description: '"quorumshift audit verify" reads it.',
        operationId: 'exportAudit',
        response: {
          200: {
            description: 'The trail',
            content: { 'application/x-ndjson': { schema: z.string() } },
          },
        },
      },
    },
    async (_request, reply) => {
      const stream: FastifyReply = reply.type('application/x-ndjson');
      return stream.send(Readable.from(ndjson(store)));
    },
  );
}

async function* ndjson(store: ControlStore): AsyncGenerator<string> {
  for await (const line of auditLines(store)) yield `${JSON.stringify(line)}\n`;
}

/** @throws `request.invalid` */
function lineNumber(place: string): number {
  const seq = Number(place);
  if (Number.isSafeInteger(seq) && seq >= 1) return seq;
  throw fail('request.invalid', { reason: 'its cursor names no line' });
}

/** For those who run the API: is it alive, can it work, what does it measure. */
import { setTimeout as delay } from 'node:timers/promises';

import { z } from 'zod';

import type { ApiApp, ApiContext } from '../context.ts';

/** What does not answer within this counts as away. */
const readyMs = 2_000;

const checkSchema = z.enum(['ok', 'away']);
const readySchema = z.object({ temporal: checkSchema, store: checkSchema }).meta({ id: 'Ready' });
const tags = ['health'];

export function addHealth(app: ApiApp, { temporal, store, metrics }: ApiContext): void {
  app.get(
    '/healthz',
    {
      config: { role: 'public' },
      schema: {
        tags,
        summary: 'The process answers',
        operationId: 'isAlive',
        response: { 200: z.object({ alive: z.literal(true) }) },
      },
    },
    async () => ({ alive: true as const }),
  );
  app.get(
    '/readyz',
    {
      config: { role: 'public' },
      schema: {
        tags,
        summary: 'Temporal and the store answer too',
        operationId: 'isReady',
        response: {
          200: readySchema,
          503: {
            description: 'One of them does not answer',
            content: { 'application/json': { schema: readySchema } },
          },
        },
      },
    },
    async (_request, reply) => {
      const [temporalIs, storeIs] = await Promise.all([
        check(temporal.withDeadline(Date.now() + readyMs, () => describeNamespace())),
        check(within(store.audit.page({ limit: 1 }))),
      ]);
      const ready = temporalIs === 'ok' && storeIs === 'ok';
      return reply.code(ready ? 200 : 503).send({ temporal: temporalIs, store: storeIs });
    },
  );
  app.get(
    '/metrics',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: "Of this process, in Prometheus' text format",
        operationId: 'getMetrics',
        response: {
          200: { description: 'Metrics', content: { 'text/plain': { schema: z.string() } } },
        },
      },
    },
    async (_request, reply) =>
      reply
        .type(metrics.contentType)
        .serializer((text: unknown) => String(text))
        .send(await metrics.text()),
  );
  app.get(
    '/openapi.json',
    { config: { role: 'public' }, schema: { hide: true } },
    async (_request, reply) =>
      reply
        .type('application/json')
        .serializer((value: unknown) => JSON.stringify(value))
        .send(app.swagger()),
  );

  function describeNamespace() {
    const { namespace } = temporal.options;
    return temporal.workflowService.describeNamespace({ namespace });
  }
}

async function check(asked: Promise<unknown>): Promise<z.infer<typeof checkSchema>> {
  return asked.then(
    () => 'ok' as const,
    () => 'away' as const,
  );
}

async function within<T>(asked: Promise<T>): Promise<T> {
  const answered = new AbortController();
  const late = delay(readyMs, null, { signal: answered.signal }).then(() => {
    throw new Error('too slow');
  });
  try {
    return await Promise.race([asked, late]);
  } finally {
    answered.abort();
    late.catch(() => {});
  }
}

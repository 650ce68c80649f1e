/**
 * What every route's documentation has in common: which problems it answers, which headers it
 * takes, and that parameters nobody named are refused. Added to each route as it is registered.
 */
import type { FastifySchema, RouteOptions } from 'fastify';
import { z } from 'zod';

import { problemSchema } from '../schemas/http/problem.ts';
import type { RouteRole } from './authentication.ts';
import { problemType } from './problems.ts';

/** Each status of the registry that a request may be answered with, in words. */
const problemTexts = {
  400: 'The request is not what the document says',
  401: 'No valid token came with it',
  403: 'The role of the token does not suffice',
  404: 'There is no such thing',
  409: 'A rule forbids it now, or the first call with this key is under way',
  413: 'The body is too large',
  414: 'The URL is too long',
  415: 'The body is no JSON',
  422: 'The Idempotency-Key came with another request, or stored bytes are damaged',
  423: 'Someone else holds it',
  429: 'Too many requests',
  431: 'The headers are too large',
  500: 'A defect of the server',
  502: 'What was called upon failed',
  503: 'Temporal, a control worker, an agent or the store does not answer',
} as const;

const always = [400, 414, 429, 431, 500, 503] as const;
const guarded = [401, 403] as const;
const changing = [404, 409, 413, 415, 422, 423, 502] as const;

/** Optional in the document, so that what is missing is answered as such. */
const keyHeader = z.looseObject({
  'idempotency-key': z
    .string()
    .regex(/^[\x21-\x7e]{1,200}$/)
    .describe('new for each change, the same when it is repeated; kept for a day'),
});

export const eventHeader = z.looseObject({
  'last-event-id': z.string().max(200).exactOptional().describe('id of the last event seen'),
});

const nothing = z.strictObject({});

export function isChange(method: RouteOptions['method']): boolean {
  const methods = Array.isArray(method) ? method : [method];
  return methods.some((one) => one !== 'GET' && one !== 'HEAD');
}

/** The whole schema of a route. */
export function completeSchema(
  schema: FastifySchema,
  route: { readonly method: RouteOptions['method']; readonly role: RouteRole | undefined },
): FastifySchema {
  const statuses = [
    ...always,
    ...(route.role === 'public' ? [] : guarded),
    ...(isChange(route.method) ? changing : schema.params === undefined ? [] : [404 as const]),
  ];
  const problems = Object.fromEntries(statuses.map((status) => [status, problemAnswer(status)]));
  return {
    querystring: nothing,
    ...(isChange(route.method) && { headers: keyHeader }),
    ...(route.role !== 'public' && { security: [{ token: [] }] }),
    ...schema,
    response: { ...problems, ...answersOf(schema.response) },
  };
}

const answerTexts: Readonly<Record<string, string>> = {
  200: 'What was asked for',
  202: 'It was taken: its operation, done or under way; Location names it',
};

/** Says of each answer that has no words of its own what it is. */
function answersOf(responses: unknown): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(responses ?? {}).map(([status, answer]: [string, unknown]) => {
      const description = answerTexts[status];
      if (!(answer instanceof z.ZodType) || description === undefined) return [status, answer];
      return [status, { description, content: { 'application/json': { schema: answer } } }];
    }),
  );
}

export function problemAnswer(status: keyof typeof problemTexts) {
  return {
    description: problemTexts[status],
    content: { [problemType]: { schema: problemSchema } },
  };
}

/** Wishes that are told to what runs: each is taken by its workflow at once, and done later. */
import type { z } from 'zod';

import type { Role } from '../../control/token-table.ts';
import { steeringSchema } from '../../schemas/http/operation.ts';
import type { ApiApp, ApiContext, Clients } from '../context.ts';

interface Steered<Params extends z.ZodType> {
  /** Of what is steered; each wish is a resource below it. */
  readonly url: string;
  /** `migration`: actions are called by it. */
  readonly kind: string;
  readonly tags: string[];
  readonly params: Params;
  readonly workflowId: (params: z.output<Params>) => string;
}

interface Wish<Params extends z.ZodType, Body extends z.ZodType> {
  readonly role: Role;
  readonly summary: string;
  readonly body: Body;
  readonly digests?: (body: z.output<Body>) => string[];
  readonly run: (
    clients: Clients,
    params: z.output<Params>,
    given: { readonly options: { readonly operationId: string }; readonly body: z.output<Body> },
  ) => Promise<unknown>;
}

/** @returns what adds a wish by its name */
export function steering<Params extends z.ZodType>(
  app: ApiApp,
  { changes, clients }: ApiContext,
  steered: Steered<Params>,
) {
  const { url, kind, tags, params, workflowId } = steered;
  return <Body extends z.ZodType<{ readonly reason?: string }>>(
    name: string,
    wish: Wish<Params, Body>,
  ): void => {
    app.post(
      `${url}/${name}`,
      {
        config: { role: wish.role },
        schema: {
          tags,
          summary: wish.summary,
          operationId: camelCase(`${name}-${kind}`),
          params,
          body: wish.body,
          response: { 202: steeringSchema },
        },
      },
      async (request, reply) => {
        const given = request.params as z.output<Params>;
        const body = request.body as z.output<Body>;
        return changes.take(request, reply, ({ operationId, by }) => ({
          action: `${kind}.${name}`,
          subject: workflowId(given),
          reason: body.reason,
          does: {
            digests: wish.digests?.(body) ?? [],
            run: () => wish.run(clients(by), given, { options: { operationId }, body }),
          },
        }));
      },
    );
  };
}

function camelCase(name: string): string {
  return name.replaceAll(/-(.)/g, (_dash, letter: string) => letter.toUpperCase());
}

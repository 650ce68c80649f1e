/** Streams of events, the same for each kind of subject. */
import { z } from 'zod';

import { principalOf } from '../authentication.ts';
import type { ApiApp, ApiContext } from '../context.ts';
import type { Seen } from '../event-stream.ts';
import { eventHeader } from '../route-schemas.ts';

const text =
  'Server-sent events, each of type "state" with the whole state as JSON; its id is the ' +
  "state's digest. Who comes back with Last-Event-ID gets the newest state, or waits for one. " +
  'A comment comes every 10 s. The stream ends with the last state; for who has that, 204.';

export function addEvents<Params extends z.ZodType>(
  app: ApiApp,
  { streams, authentication }: ApiContext,
  watched: {
    readonly url: string;
    readonly operationId: string;
    readonly tags: readonly string[];
    readonly params: Params;
    /** The same for the same parameters. */
    readonly subject: (params: z.output<Params>) => string;
    readonly read: (params: z.output<Params>) => Promise<Seen>;
  },
): void {
  const { url, operationId, tags, params } = watched;
  app.get(
    url,
    {
      config: { role: 'view', stream: true },
      schema: {
        tags: [...tags],
        summary: 'Watch it',
        description: text,
        operationId,
        params,
        headers: eventHeader,
        response: {
          200: { description: text, content: { 'text/event-stream': { schema: z.string() } } },
          204: z.null().describe('It has ended, and its last state was seen'),
        },
      },
    },
    async (request, reply) => {
      const given = request.params as z.output<Params>;
      const principal = principalOf(request);
      await streams.serve(request, reply, {
        subject: watched.subject(given),
        read: () => watched.read(given),
        allowed: () => authentication.stillAllowed(principal),
        by: principal.id,
      });
      return reply;
    },
  );
}

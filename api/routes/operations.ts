/** What was asked of the API, and what came of it. */
import { z } from 'zod';

import { operationSchema } from '../../schemas/http/operation.ts';
import { answer, type ApiApp, type ApiContext } from '../context.ts';

export function addOperations(app: ApiApp, { changes }: ApiContext): void {
  app.get(
    '/v1/operations/:id',
    {
      config: { role: 'view' },
      schema: {
        tags: ['operations'],
        summary: 'Where a change stands; kept for a day',
        operationId: 'getOperation',
        params: z.strictObject({ id: z.uuid() }),
        response: { 200: operationSchema },
      },
    },
    async (request) => answer(await changes.operation(request.params.id)),
  );
}

/** The OpenAPI document, made from the routes' own schemas, and a page to read it. */
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';

import type { ApiApp } from './context.ts';

export const docsPrefix = '/docs';

/** Of the resources under /v1; raised with each change that a client may notice. */
const apiVersion = '1.0.0';

export async function addOpenApi(app: ApiApp): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Quorumshift',
        version: apiVersion,
        description:
          'Moves the storage of live Raft groups: single replicas, clusters, fleets. See docs/api.md.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      components: {
        securitySchemes: {
          token: {
            type: 'http',
            scheme: 'bearer',
            description: 'made by "quorumshift token create"; its role says what it may do',
          },
        },
      },
    },
    transform: jsonSchemaTransform,
    transformObject: jsonSchemaTransformObject,
  });
  await app.register(swaggerUi, { routePrefix: docsPrefix, staticCSP: true });
}

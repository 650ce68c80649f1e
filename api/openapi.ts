/** The OpenAPI document, made from the routes' own schemas, and a page to read it. */
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';

import type { ApiApp } from './context.ts';

export const docsPrefix = '/docs';

/** Of the resources under /v1; raised with each change that a client may notice. */
const apiVersion = '1.0.0';

/** Without the schemas that nothing refers to: those of answers as inputs, and the reverse. */
function onlyUsed<Document extends object>(document: Document): Document {
  const { components, ...rest } = document as Document & Components;
  const schemas = components?.schemas ?? {};
  const used = new Set<string>();
  const open: unknown[] = [rest];
  while (open.length > 0) {
    for (const [, name = ''] of JSON.stringify(open.pop()).matchAll(reference)) {
      if (used.has(name)) continue;
      used.add(name);
      open.push(schemas[name] ?? {});
    }
  }
  const kept = Object.entries(schemas)
    .filter(([name]) => used.has(name))
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  return { ...document, components: { ...components, schemas: Object.fromEntries(kept) } };
}

interface Components {
  readonly components?: { readonly schemas?: Readonly<Record<string, unknown>> };
}

const reference = /"#\/components\/schemas\/([^"]+)"/g;

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
    transformObject: (document) => onlyUsed(jsonSchemaTransformObject(document)),
  });
  await app.register(swaggerUi, { routePrefix: docsPrefix, staticCSP: true });
}

/** The HTTP server: what holds for every request, and the routes of each resource. */
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';

import rateLimit from '@fastify/rate-limit';
import type { Client } from '@temporalio/client';
import fastify, { type FastifyError, type FastifyReply, type FastifyRequest } from 'fastify';
import { serializerCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { safeParse, type $ZodType } from 'zod/v4/core';

import type { ControlStore } from '../control/control-store.ts';
import { fail } from '../core/errors.ts';
import { Authentication, type RouteRole } from './authentication.ts';
import { Changes, requireKey } from './changes.ts';
import { clientsOf, type ApiApp } from './context.ts';
import { EventStreams } from './event-stream.ts';
import { takeJsonAlone } from './json-body.ts';
import { limits } from './limits.ts';
import { ApiMetrics } from './metrics.ts';
import { addOpenApi, docsPrefix } from './openapi.ts';
import { problemOf, requestProblem, sendProblem, UnfitRequest } from './problems.ts';
import { refuseConnection } from './refuse-connection.ts';
import { completeSchema, isChange } from './route-schemas.ts';
import { addRoutes } from './routes/all-routes.ts';

/** What is under way when the server is told to end may go on for so long. */
const settleMs = 15_000;

export interface ApiServerOptions {
  readonly temporal: Client;
  /** Temporal's, for what is said of it. */
  readonly address: string;
  readonly store: ControlStore;
  /** `off`: whoever reaches the server may do everything. */
  readonly authentication: 'tokens' | 'off';
  /** Requests of one token, or one address without, in a minute. */
  readonly perMinute: number;
}

/** A resource that the server has, as its test of roles finds it. */
export interface ApiRoute {
  readonly method: string;
  readonly url: string;
  readonly role: RouteRole | undefined;
}

export interface ApiServer {
  readonly app: ApiApp;
  readonly routes: readonly ApiRoute[];
}

/** Nothing listens yet: `app.listen()`. `app.close()` ends streams, and waits for changes. */
export async function createApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { temporal, address, store } = options;
  const app: ApiApp = fastify({
    logger: { level: 'warn', base: null },
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    exposeHeadRoutes: false,
    bodyLimit: limits.bodyBytes,
    requestTimeout: limits.requestMs,
    routerOptions: { maxParamLength: limits.parameterBytes },
    http: {
      maxHeaderSize: limits.headerBytes,
      // Node goes by the longer of the two, and takes them from here alone for bodies.
      requestTimeout: limits.requestMs,
      headersTimeout: limits.requestMs,
      connectionsCheckingInterval: limits.checkMs,
    },
    forceCloseConnections: 'idle',
    clientErrorHandler: (error: NodeJS.ErrnoException, socket: Socket) =>
      refuseConnection(error, socket),
    frameworkErrors: (error, request, reply) => {
      refuse(error, request, reply);
    },
  }).withTypeProvider<ZodTypeProvider>();
  const problem = (error: unknown, instance: string) => problemOf(error, { instance, address });
  const refuse = (error: FastifyError, request: FastifyRequest, reply: FastifyReply) => {
    const { error: known, errors } = requestProblem(error, request);
    const found = problem(known, request.id);
    if (found.status === 500) request.log.error({ err: error }, found.detail);
    if (found.status === 503) void reply.header('retry-after', '1');
    return sendProblem(reply, errors === undefined ? found : { ...found, errors });
  };
  const gate = new Gate();
  const streams = new EventStreams();
  const changes = new Changes({ store, problemOf: problem });
  const metrics = new ApiMetrics({
    streams: () => streams.size,
    requests: () => gate.size,
    operations: () => changes.size,
  });
  const authentication = new Authentication(
    options.authentication === 'off' ? null : { verify: (secret) => store.tokens.verify(secret) },
  );

  app.decorateRequest('principal', null);
  app.setErrorHandler<FastifyError>(refuse);
  app.setValidatorCompiler<$ZodType>(({ schema }) => (data) => {
    const parsed = safeParse(schema, data);
    return parsed.success
      ? { value: parsed.data }
      : { error: new UnfitRequest(parsed.error.issues) };
  });
  app.setSerializerCompiler(serializerCompiler);
  takeJsonAlone(app);

  app.addHook('onRequest', gate.enter);
  app.addHook('onRequest', authentication.identify);
  app.addHook('onResponse', metrics.observe);
  app.addHook('preParsing', async (request, reply) => {
    if (request.is404) return;
    await authentication.authorize(request, reply);
    if (isChange(request.method) && request.routeOptions.config.refuses !== true) {
      requireKey(request);
    }
  });
  app.addHook('preClose', async () => {
    streams.close();
    await changes.settle(settleMs);
  });
  const routes = listRoutes(app);
  await app.register(rateLimit, {
    max: options.perMinute,
    timeWindow: '1 minute',
    keyGenerator: (request) => request.principal?.id ?? request.ip,
    errorResponseBuilder: (_request, { max, after }) =>
      fail('api.rate-limited', { most: max, window: after }),
  });
  await addOpenApi(app);
  const clients = clientsOf(temporal);
  await app.register(async (scope: ApiApp) => {
    addRoutes(scope, { temporal, store, clients, authentication, changes, streams, metrics });
    refuseOtherMethods(scope, routes);
  });
  app.setNotFoundHandler({ preHandler: app.rateLimit() }, (request) => {
    throw fail('request.not-found', { path: pathOf(request) });
  });
  await app.ready();
  return { app, routes };
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A stream of events: it stays open, and is counted as such. */
    readonly stream?: boolean;
    /** Stands for the methods that a resource does not have. */
    readonly refuses?: boolean;
  }
}

/** How many requests are being answered, and what none may exceed. */
class Gate {
  size = 0;

  readonly enter = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    if (Buffer.byteLength(request.url) > limits.urlBytes) {
      throw fail('request.url-too-long', { bytes: limits.urlBytes });
    }
    if (request.routeOptions.config.stream === true) return;
    if (this.size >= limits.requests) {
      throw fail('api.overloaded', { most: limits.requests, what: 'requests' });
    }
    this.size += 1;
    reply.raw.once('close', () => (this.size -= 1));
  };
}

/** Completes each route as it is registered, and notes it. */
function listRoutes(app: ApiApp): ApiRoute[] {
  const routes: ApiRoute[] = [];
  app.addHook('onRoute', (route) => {
    const { method, url } = route;
    if (url.startsWith(docsPrefix)) route.config = { ...route.config, role: 'public' };
    const { role, refuses } = route.config ?? {};
    if (refuses === true) return;
    route.schema = completeSchema(route.schema ?? {}, { method, role });
    for (const one of [method].flat()) routes.push({ method: one, url, role });
  });
  return routes;
}

/** Fastify answers 404 where the resource is there and the method is not. */
function refuseOtherMethods(app: ApiApp, routes: readonly ApiRoute[]): void {
  for (const url of new Set(routes.map((route) => route.url))) {
    if (url.startsWith(docsPrefix)) continue;
    const allowed = routes.flatMap((route) => (route.url === url ? [route.method] : []));
    const refuse = async (request: FastifyRequest, reply: FastifyReply): Promise<never> => {
      void reply.header('allow', allowed.join(', '));
      throw fail('request.method-not-allowed', {
        method: request.method,
        path: pathOf(request),
        allowed: allowed.join(', '),
      });
    };
    app.route({
      method: app.supportedMethods.filter((method) => !allowed.includes(method)),
      url,
      config: { role: 'public', refuses: true },
      schema: { hide: true },
      // Before a body is asked for.
      onRequest: refuse,
      handler: refuse,
    });
  }
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0] ?? '';
}

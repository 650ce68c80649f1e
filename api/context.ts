/** What the routes work with. */
import type { IncomingMessage, ServerResponse } from 'node:http';

import type { Client } from '@temporalio/client';
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';

import type { MigrationClient } from '../client/migration-client.ts';
import type { ControlStore } from '../control/control-store.ts';
import type { Authentication } from './authentication.ts';
import type { Changes } from './changes.ts';
import type { EventStreams } from './event-stream.ts';
import type { ApiMetrics } from './metrics.ts';

export interface ApiContext {
  readonly temporal: Client;
  readonly store: ControlStore;
  /** Used as somebody: `migrations.as(…)`. */
  readonly migrations: MigrationClient;
  readonly authentication: Authentication;
  readonly changes: Changes;
  readonly streams: EventStreams;
  readonly metrics: ApiMetrics;
}

export type ApiApp = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/** A read-only value as an answer's schema has it; serializing changes nothing of it. */
export type Mutable<Value> = Value extends readonly (infer Item)[]
  ? Mutable<Item>[]
  : Value extends object
    ? { -readonly [Key in keyof Value]: Mutable<Value[Key]> }
    : Value;

export function answer<Value>(value: Value): Mutable<Value> {
  return value as Mutable<Value>;
}

/** What the routes work with. */
import type { IncomingMessage, ServerResponse } from 'node:http';

import type { Client } from '@temporalio/client';
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';

import { ClusterClient } from '../client/cluster-client.ts';
import { FleetClient } from '../client/fleet-client.ts';
import { MachineClient } from '../client/machine-client.ts';
import { MigrationClient } from '../client/migration-client.ts';
import { ScheduleClient } from '../client/schedule-client.ts';
import type { ControlStore } from '../control/control-store.ts';
import type { Authentication } from './authentication.ts';
import type { Changes } from './changes.ts';
import type { EventStreams } from './event-stream.ts';
import type { ApiMetrics } from './metrics.ts';

export interface Clients {
  readonly migrations: MigrationClient;
  readonly clusters: ClusterClient;
  readonly fleets: FleetClient;
  readonly schedules: ScheduleClient;
  readonly machines: MachineClient;
}

/** They hold nothing but the connection. */
export function clientsOf(client: Client): (by: string) => Clients {
  return (identity) => ({
    migrations: new MigrationClient({ client, identity }),
    clusters: new ClusterClient({ client, identity }),
    fleets: new FleetClient({ client, identity }),
    schedules: new ScheduleClient({ client }),
    machines: new MachineClient(client),
  });
}

/** Who reads; nothing is recorded of it. */
export const reader = 'api';

export interface ApiContext {
  readonly temporal: Client;
  readonly store: ControlStore;
  /** As somebody: who asks is recorded in what is asked for. */
  readonly clients: (by: string) => Clients;
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

/**
 * The control plane that commands steer: behind the HTTP API where one is named, else by way of
 * Temporal itself, which is an administrator's access, with an identity that nobody has verified.
 */
import { Option, type Command } from 'commander';

import { ClusterClient } from '../client/cluster-client.ts';
import type { ControlPlane } from '../client/control-plane.ts';
import { FleetClient } from '../client/fleet-client.ts';
import { HttpControlPlane } from '../client/http/http-control-plane.ts';
import { MigrationClient } from '../client/migration-client.ts';
import type { Migrations } from '../client/migrations.ts';
import { ScheduleClient } from '../client/schedule-client.ts';
import type { ClientOptions } from '../client/workflow-calls.ts';
import { assert, fail } from '../core/errors.ts';
import type { ClusterRollout } from '../schemas/cluster-rollout.ts';
import { withControlStore, type ControlStoreOptions } from './control-store-options.ts';
import { addTemporalOptions, withTemporal, type TemporalOptions } from './temporal-options.ts';

export interface ConnectionOptions extends TemporalOptions {
  readonly api?: string;
}

export function addConnectionOptions(command: Command): Command {
  return addApiOption(addTemporalOptions(command));
}

export function addApiOption(command: Command): Command {
  return command.addOption(
    new Option(
      '--api <url>',
      'go through this API, with the token in QUORUMSHIFT_API_TOKEN, not to Temporal',
    ).env('QUORUMSHIFT_API'),
  );
}

/** @throws `usage.invalid` */
function apiUrl({ api = '' }: ConnectionOptions): string | null {
  if (api === '') return null;
  if (URL.canParse(api) && /^https?:/.test(api)) return api.replace(/\/+$/, '');
  throw fail('usage.invalid', {
    reason: `the API's URL is "${api}" (--api, QUORUMSHIFT_API): it must be one such as http://127.0.0.1:8240`,
  });
}

/** @throws `temporal.unavailable`, `api.unreachable` */
export async function withControlPlane<T>(
  options: ConnectionOptions & ControlStoreOptions,
  work: (plane: ControlPlane) => Promise<T>,
): Promise<T> {
  const plane = byApi(options);
  if (plane !== null) return work(plane);
  return withTemporal(options, (given) => work(byTemporal(given, options)));
}

export function withMigrations<T>(
  options: ConnectionOptions,
  work: (migrations: Migrations) => Promise<T>,
): Promise<T> {
  return withControlPlane(options, ({ migrations }) => work(migrations));
}

/** Null where no API is named. @throws `usage.invalid` */
export function byApi(options: ConnectionOptions): HttpControlPlane | null {
  const url = apiUrl(options);
  if (url === null) return null;
  const { QUORUMSHIFT_API_TOKEN: token = '' } = process.env;
  return new HttpControlPlane({ url, ...(token !== '' && { token }) });
}

/** Snapshots are put into the store of the process that serves them, which is on this machine. */
function byTemporal(given: ClientOptions, options: ControlStoreOptions): ControlPlane {
  const fleets = new FleetClient(given);
  const schedules = new ScheduleClient(given);
  const stored = async (rollouts: readonly ClusterRollout[]) => {
    const [first] = rollouts;
    assert(first !== undefined, 'a rollout is of one cluster or more');
    const snapshot = await withControlStore(options, { create: false }, (store) =>
      store.snapshots.put(rollouts),
    );
    const { rolloutId, policy, requestedBy } = first;
    return { rolloutId, policy, requestedBy, snapshot };
  };
  return {
    migrations: new MigrationClient(given),
    clusters: new ClusterClient(given),
    fleets,
    schedules,
    inventory: async () => null,
    startFleet: async (fleet, rollouts) => {
      const start = { fleet, ...(await stored(rollouts)) };
      return { ...(await fleets.start(start)), snapshot: start.snapshot };
    },
    createSchedule: async (schedule, rollouts) => {
      const { rolloutId: _each, ...rest } = await stored(rollouts);
      await schedules.create({ ...schedule, ...rest });
    },
  };
}

/** Options of commands that speak to Temporal, and the client they get. */
import type { Client } from '@temporalio/client';
import { Option, type Command } from 'commander';

import { MigrationClient } from '../client/migration-client.ts';
import { identity } from './identity.ts';
import { connectClient, temporalFailure, temporalTarget } from '../worker/temporal-connection.ts';

export interface TemporalOptions {
  readonly address?: string;
  readonly namespace?: string;
}

export function addTemporalOptions(command: Command): Command {
  return command
    .addOption(new Option('--address <host:port>', 'Temporal frontend').env('TEMPORAL_ADDRESS'))
    .addOption(new Option('--namespace <name>', 'Temporal namespace').env('TEMPORAL_NAMESPACE'));
}

/** Runs `work` with a connected client. @throws `temporal.unavailable` */
export function withClient<T>(
  options: TemporalOptions,
  work: (client: MigrationClient) => Promise<T>,
): Promise<T> {
  return withTemporal(options, (client) =>
    work(new MigrationClient({ client, identity: identity() })),
  );
}

/** Runs `work` with Temporal's own client. @throws `temporal.unavailable` */
export async function withTemporal<T>(
  { address, namespace }: TemporalOptions,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const target = temporalTarget({
    ...(address !== undefined && { address }),
    ...(namespace !== undefined && { namespace }),
  });
  const client = await connectClient(target);
  try {
    return await work(client);
  } catch (error) {
    throw temporalFailure(target, error);
  } finally {
    await client.connection.close();
  }
}

/** Options of commands that speak to Temporal, and the client they get. */
import { Option, type Command } from 'commander';

import { MigrationClient } from '../client/migration-client.ts';
import type { ClientOptions } from '../client/workflow-calls.ts';
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

/** Runs `work` with a client of migrations. @throws `temporal.unavailable` */
export async function withClient<T>(
  options: TemporalOptions,
  work: (client: MigrationClient) => Promise<T>,
): Promise<T> {
  return withTemporal(options, (given) => work(new MigrationClient(given)));
}

/** Runs `work` with what clients are made of. @throws `temporal.unavailable` */
export async function withTemporal<T>(
  options: TemporalOptions,
  work: (given: ClientOptions) => Promise<T>,
): Promise<T> {
  const { address, namespace } = options;
  const target = temporalTarget({
    ...(address !== undefined && { address }),
    ...(namespace !== undefined && { namespace }),
  });
  const client = await connectClient(target);
  try {
    return await work({ client, identity: identity() });
  } catch (error) {
    throw temporalFailure(target, error);
  } finally {
    await client.connection.close();
  }
}

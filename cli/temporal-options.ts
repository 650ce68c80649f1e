/** How commands reach Temporal itself. */
import { Option, type Command } from 'commander';

import type { ClientOptions } from '../client/workflow-calls.ts';
import { connectClient, temporalFailure, temporalTarget } from '../worker/temporal-connection.ts';
import { identity } from './identity.ts';

export interface TemporalOptions {
  readonly address?: string;
  readonly namespace?: string;
}

export function addTemporalOptions(command: Command): Command {
  return command
    .addOption(new Option('--address <host:port>', 'Temporal frontend').env('TEMPORAL_ADDRESS'))
    .addOption(new Option('--namespace <name>', 'Temporal namespace').env('TEMPORAL_NAMESPACE'));
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

/**
 * The client that commands get: of the HTTP API where QUORUMSHIFT_API names one, else straight to
 * Temporal, which is an administrator's access, with an identity that nobody has verified.
 */
import { Option, type Command } from 'commander';

import { HttpMigrationClient } from '../client/http/http-migration-client.ts';
import { MigrationClient } from '../client/migration-client.ts';
import type { Migrations } from '../client/migrations.ts';
import type { ClientOptions } from '../client/workflow-calls.ts';
import { fail } from '../core/errors.ts';
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

/**
 * Runs `work` with the API's client, or one that is connected to Temporal.
 * @throws `temporal.unavailable`, `api.unreachable`
 */
export async function withClient<T>(
  options: TemporalOptions,
  work: (client: Migrations) => Promise<T>,
): Promise<T> {
  const { QUORUMSHIFT_API: url = '', QUORUMSHIFT_API_TOKEN: token = '' } = process.env;
  if (url === '') return withTemporal(options, (given) => work(new MigrationClient(given)));
  return work(new HttpMigrationClient({ url: apiUrl(url), ...(token !== '' && { token }) }));
}

/** @throws `usage.invalid` */
function apiUrl(text: string): string {
  if (URL.canParse(text) && /^https?:/.test(text)) return text.replace(/\/+$/, '');
  throw fail('usage.invalid', {
    reason: `QUORUMSHIFT_API is "${text}": it must be a URL such as http://127.0.0.1:8240`,
  });
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

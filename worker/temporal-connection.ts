/**
 * How clients and workers find Temporal: its own environment and profiles (TEMPORAL_ADDRESS, …).
 * Workers connect by worker-connection.ts: their package is a heavy one.
 */
import { Client, Connection, isGrpcServiceError, ServiceError } from '@temporalio/client';
import { NamespaceNotFoundError } from '@temporalio/common';
import { loadClientConnectConfig } from '@temporalio/envconfig';

import { fail, messageOf } from '../core/errors.ts';

/** Where a development server listens when nothing is configured. */
const defaultAddress = '127.0.0.1:7233';

/** A server that does not answer within this is reported, not waited for. */
const connectTimeoutMs = 5_000;

export interface TemporalTarget {
  readonly address: string;
  readonly namespace: string;
}

/** The configured server; `overrides` come from the command line. */
export function temporalTarget(overrides: Partial<TemporalTarget> = {}): TemporalTarget {
  const { connectionOptions, namespace } = loadClientConnectConfig();
  return {
    address: overrides.address ?? connectionOptions.address ?? defaultAddress,
    namespace: overrides.namespace ?? namespace ?? 'default',
  };
}

/** @throws `temporal.unavailable` */
export async function connectClient(target: TemporalTarget): Promise<Client> {
  const { connectionOptions } = loadClientConnectConfig();
  const { address, namespace } = target;
  try {
    const options = { ...connectionOptions, address, connectTimeout: connectTimeoutMs };
    const connection = await Connection.connect(options);
    return new Client({ connection, namespace });
  } catch (cause) {
    throw unavailable(address, cause);
  }
}

/** What Temporal, or the way to it, refused, as an error of the registry; others as they are. */
export function temporalFailure({ address }: TemporalTarget, error: unknown): unknown {
  if (error instanceof NamespaceNotFoundError) return unavailable(address, error);
  if (!(error instanceof ServiceError) && !isGrpcServiceError(error)) return error;
  const cause = isGrpcServiceError(error) ? error : error.cause;
  return unavailable(address, isGrpcServiceError(cause) ? new Error(cause.details) : error);
}

export function unavailable(address: string, cause: unknown): Error {
  const reason = messageOf(cause);
  return fail('temporal.unavailable', { address, reason }, { cause });
}

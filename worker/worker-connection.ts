/** A worker's connection to Temporal. */
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { NativeConnection } from '@temporalio/worker';

import { unavailable, type TemporalTarget } from './temporal-connection.ts';
import { installRuntime } from './temporal-runtime.ts';

/** @throws `temporal.unavailable` */
export async function connectWorker(target: TemporalTarget): Promise<NativeConnection> {
  const { connectionOptions } = loadClientConnectConfig();
  const { tls, apiKey, metadata } = connectionOptions;
  installRuntime();
  try {
    return await NativeConnection.connect({
      address: target.address,
      ...(tls !== undefined && tls !== null && { tls }),
      ...(typeof apiKey === 'string' && { apiKey }),
      ...(metadata !== undefined && { metadata }),
    });
  } catch (cause) {
    throw unavailable(target.address, cause);
  }
}

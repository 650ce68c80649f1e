/** A worker's connection to Temporal. */
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { NativeConnection } from '@temporalio/worker';

import type { Log } from '../core/log.ts';
import { unavailable, type TemporalTarget } from './temporal-connection.ts';
import { installRuntime } from './temporal-runtime.ts';

/**
 * @param metricsPort of 127.0.0.1, where Prometheus finds the metrics of the process's workers
 * @throws `temporal.unavailable`, `metrics.not-served`
 */
export async function connectWorker(
  target: TemporalTarget,
  log: Log,
  metricsPort?: number,
): Promise<NativeConnection> {
  const { connectionOptions } = loadClientConnectConfig();
  const { tls, apiKey, metadata } = connectionOptions;
  installRuntime(log, metricsPort);
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

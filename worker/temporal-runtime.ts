/**
 * The SDK's own log lines: warnings and errors only, so that ours can be read. Our workers run
 * either workflows or activities, by design: that one has none of the other is no warning.
 */
import { DefaultLogger, Runtime } from '@temporalio/worker';

import { fail } from '../core/errors.ts';

export const sdkLogger = new DefaultLogger('WARN', ({ level, message, meta }) => {
  if (/^No (workflows|activities) registered/.test(message)) return;
  process.stderr.write(`temporal ${level}: ${message} ${JSON.stringify(meta ?? {})}\n`);
});

let installed = false;

/**
 * Once per process, before the first connection of a worker.
 * @param metricsPort of 127.0.0.1, where Prometheus finds the SDK's metrics
 * @throws `metrics.not-served`
 */
export function installRuntime(metricsPort?: number): void {
  if (installed) return;
  installed = true;
  const bindAddress = `127.0.0.1:${metricsPort}`;
  const metrics = {
    prometheus: { bindAddress, countersTotalSuffix: true, useSecondsForDurations: true },
  };
  try {
    Runtime.install({
      logger: sdkLogger,
      ...(metricsPort !== undefined && { telemetryOptions: { metrics } }),
    });
  } catch (cause) {
    if (metricsPort === undefined) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw fail('metrics.not-served', { address: bindAddress, reason }, { cause });
  }
}

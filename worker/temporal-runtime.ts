/**
 * The SDK's own log lines: warnings and errors only, so that ours can be read. Our workers run
 * either workflows or activities, by design: that one has none of the other is no warning.
 */
import { DefaultLogger, Runtime } from '@temporalio/worker';

import type { Log } from '../core/log.ts';
import { fail, messageOf } from '../core/errors.ts';

export function sdkLogger(log: Log): DefaultLogger {
  return new DefaultLogger('WARN', ({ level, message, meta }) => {
    if (/^No (workflows|activities) registered/.test(message)) return;
    const line = `temporal ${level}: ${message} ${JSON.stringify(meta ?? {})}`;
    log(line, {}, level === 'ERROR' ? 'error' : 'warn');
  });
}

let installed = false;

/**
 * Once per process, before the first connection of a worker.
 * @param log what the SDK has to say goes there, too
 * @param metricsPort of 127.0.0.1, where Prometheus finds the SDK's metrics
 * @throws `metrics.not-served`
 */
export function installRuntime(log: Log, metricsPort?: number): void {
  if (installed) return;
  installed = true;
  const bindAddress = `127.0.0.1:${metricsPort}`;
  const metrics = {
    prometheus: { bindAddress, countersTotalSuffix: true, useSecondsForDurations: true },
  };
  try {
    Runtime.install({
      logger: sdkLogger(log),
      ...(metricsPort !== undefined && { telemetryOptions: { metrics } }),
    });
  } catch (cause) {
    if (metricsPort === undefined) throw cause;
    const reason = messageOf(cause);
    throw fail('metrics.not-served', { address: bindAddress, reason }, { cause });
  }
}

/**
 * The SDK's own log lines: warnings and errors only, so that ours can be read. Our workers run
 * either workflows or activities, by design: that one has none of the other is no warning.
 */
import { DefaultLogger, Runtime } from '@temporalio/worker';

export const sdkLogger = new DefaultLogger('WARN', ({ level, message, meta }) => {
  if (/^No (workflows|activities) registered/.test(message)) return;
  process.stderr.write(`temporal ${level}: ${message} ${JSON.stringify(meta ?? {})}\n`);
});

let installed = false;

/** Once per process, before the first connection of a worker. */
export function installRuntime(): void {
  if (installed) return;
  installed = true;
  Runtime.install({ logger: sdkLogger });
}

/** `quorumshift api`: the HTTP API, over Temporal and the control plane's store. */
import type { Command } from 'commander';

import { startApi, type RunningApi } from '../../api/start-api.ts';
import { readControlConfig } from '../../control/control-config-file.ts';
import { openControlStore } from '../../control/control-store.ts';
import {
  controlConfigSchema,
  type ApiConfig,
  type ControlConfig,
} from '../../schemas/control-config.ts';
import { temporalTarget, type TemporalTarget } from '../../worker/temporal-connection.ts';
import { processLog, type LogFormat } from '../../worker/process-log.ts';
import { onStop } from '../on-stop.ts';
import { logFormatOption } from '../output.ts';
import { addTemporalOptions, type TemporalOptions } from '../temporal-options.ts';

interface ApiOptions extends TemporalOptions {
  readonly logFormat: LogFormat;
  readonly config?: string;
  readonly listen?: string;
  readonly tokens: boolean;
}

export function addApi(program: Command): void {
  const command = program
    .command('api')
    .description('the HTTP API: migrations, rollouts, schedules, inventory, audit');
  addTemporalOptions(command)
    .option('--config <file>', 'of the control plane: where its store is, and "api"')
    .option('--listen <host:port>', 'where it listens, whatever the configuration says')
    .option('--no-tokens', 'take requests without a token: on the loopback interface alone')
    .addOption(logFormatOption())
    .addHelpText('after', '\nExample:\n  quorumshift api --config control.yaml')
    .action(api);
}

async function api(options: ApiOptions): Promise<void> {
  const { address, namespace, listen, tokens } = options;
  const target = temporalTarget({
    ...(address !== undefined && { address }),
    ...(namespace !== undefined && { namespace }),
  });
  const file =
    options.config === undefined
      ? controlConfigSchema.parse({})
      : await readControlConfig(options.config);
  const config = controlConfigSchema.parse({ ...file, api: overridden(file.api, listen, tokens) });
  const running = await serveApi(target, config);
  processLog('api', options.logFormat)(apiText(running.url, config.api));
  await new Promise<void>((stopped) => onStop(() => stopped()));
  await running.close();
}

export function overridden(config: ApiConfig, listen: string | undefined, tokens: boolean) {
  return {
    ...config,
    ...(listen !== undefined && { listen }),
    ...(!tokens && { authentication: 'off' as const }),
  };
}

/** With a store of its own, which is closed with it. */
export async function serveApi(
  target: TemporalTarget,
  { controlDir, api: config }: Pick<ControlConfig, 'controlDir' | 'api'>,
): Promise<RunningApi> {
  const store = await openControlStore({ controlDir });
  try {
    const running = await startApi({ target, store, config });
    return {
      url: running.url,
      close: async () => {
        await running.close();
        await store.close();
      },
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}

export function apiText(url: string, { authentication }: ApiConfig): string {
  const ready = `the API is ready at ${url}, to be read at ${url}/docs`;
  if (authentication === 'tokens') return ready;
  return `${ready}; it asks for NO TOKEN: whoever reaches it may do everything`;
}

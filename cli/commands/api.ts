/** `quorumshift api`: the HTTP API, over Temporal and the control plane's store. */
import { Option, type Command } from 'commander';

import { startApi, type ApiPlace } from '../../api/start-api.ts';
import { limits } from '../../api/limits.ts';
import { openControlStore } from '../../control/control-store.ts';
import { fail } from '../../core/errors.ts';
import { temporalTarget } from '../../worker/temporal-connection.ts';
import { onStop } from '../on-stop.ts';
import { parseCount } from '../output.ts';
import { addTemporalOptions, type TemporalOptions } from '../temporal-options.ts';

export interface ApiOptions {
  readonly listen: ApiPlace;
  readonly controlDir: string;
  readonly tokens: boolean;
  readonly rate: number;
}

export const defaultApiPort = 8240;

export function addApi(program: Command): void {
  const command = program
    .command('api')
    .description('the HTTP API: migrations, inventory, audit; see docs/api.md');
  addApiOptions(addTemporalOptions(command))
    .addOption(
      new Option('--listen <host:port>', 'where it listens')
        .argParser(parsePlace)
        .default(loopback(defaultApiPort), `127.0.0.1:${defaultApiPort}`),
    )
    .addHelpText('after', '\nExample:\n  quorumshift api --listen 0.0.0.0:8240')
    .action(api);
}

/** Those that `dev` has too. */
export function addApiOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--control-dir <dir>', "the control plane's own store: tokens, audit, inventory")
        .default('/var/lib/quorumshift/control')
        .env('QUORUMSHIFT_CONTROL_DIR'),
    )
    .option('--no-tokens', 'take requests without a token: on the loopback interface alone')
    .option('--rate <count>', 'requests of one token in a minute', parseCount, limits.perMinute);
}

export function loopback(port: number): ApiPlace {
  return { host: '127.0.0.1', port };
}

async function api(options: ApiOptions & TemporalOptions): Promise<void> {
  const { address, namespace, listen, tokens } = options;
  const target = temporalTarget({
    ...(address !== undefined && { address }),
    ...(namespace !== undefined && { namespace }),
  });
  const store = await openControlStore({ controlDir: options.controlDir });
  try {
    const authentication = tokens ? 'tokens' : 'off';
    const perMinute = options.rate;
    const running = await startApi({ target, store, place: listen, authentication, perMinute });
    process.stderr.write(`${apiText(running.url, tokens)}\n`);
    await new Promise<void>((stopped) => onStop(() => stopped()));
    await running.close();
  } finally {
    await store.close();
  }
}

export function apiText(url: string, tokens: boolean): string {
  const ready = `the API is ready at ${url}, to be read at ${url}/docs`;
  return tokens ? ready : `${ready}; it asks for NO TOKEN: whoever reaches it may do everything`;
}

/** @throws `usage.invalid` */
function parsePlace(text: string): ApiPlace {
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(text) ?? [];
  if (host !== undefined && Number(port) <= 65_535) {
    return { host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
  }
  throw fail('usage.invalid', { reason: `"${text}" is no place such as 127.0.0.1:8240` });
}

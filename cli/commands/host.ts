/** `quorumshift host`: the storage host of this machine. */
import type { Command } from 'commander';

import { exitCodes } from '../../core/error-registry.ts';
import { processLog, type LogFormat } from '../../worker/process-log.ts';
import { onStop } from '../on-stop.ts';
import { logFormatOption } from '../output.ts';

export function addHost(program: Command): void {
  program
    .command('host')
    .description("the storage host: keeps the durable state of this machine's replicas")
    .option('--config <file>', "the host's configuration", '/etc/quorumshift/host.json')
    .addHelpText('after', '\nExample:\n  quorumshift host --config host.json')
    .addOption(logFormatOption())
    .action(host);
}

interface HostOptions {
  readonly config: string;
  readonly logFormat: LogFormat;
}

async function host({ config: file, logFormat }: HostOptions): Promise<void> {
  const [{ StorageHost }, { hostConfigSchema }, { readConfiguration }, storage, layer] =
    await Promise.all([
      import('../../host/storage-host.ts'),
      import('../../schemas/host-config.ts'),
      import('../../schemas/configuration-file.ts'),
      import('../../storage/families/registry.ts'),
      import('../../storage/node-file-layer.ts'),
    ]);
  const config = await readConfiguration(file, hostConfigSchema);
  const log = processLog('host', logFormat);
  const running = await StorageHost.start({
    config,
    log,
    files: layer.nodeFileLayer,
    families: storage.defaultFamilies(),
  });
  log(`storage host is ready at ${config.socket}`);
  onStop(async () => {
    const late = await running.stop();
    // What it was given keeps the process from ending by itself.
    if (late.length > 0) process.exit(exitCodes.unexpected);
  });
}

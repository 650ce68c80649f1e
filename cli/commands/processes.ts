/** Long-running processes: `quorumshift dev`, `agent` and `control`. */
import type { Command } from 'commander';

import { agentContext, createAgentWorkers } from '../../worker/agent-worker.ts';
import { defaultConfigFile, readAgentConfig } from '../../worker/agent-configuration.ts';
import { readControlConfig } from '../../control/control-config-file.ts';
import { createControlWorker } from '../../worker/control-worker.ts';
import { devControlConfig, startDev } from '../../worker/dev.ts';
import { drain } from '../../worker/drain.ts';
import { processLog, type LogFormat } from '../../worker/process-log.ts';
import { createStoreWorker } from '../../worker/store-worker.ts';
import { temporalTarget } from '../../worker/temporal-connection.ts';
import { connectWorker } from '../../worker/worker-connection.ts';
import { onStop } from '../on-stop.ts';
import { apiText, overridden, serveApi } from './api.ts';
import { logFormatOption, parsePort } from '../output.ts';
import { addTemporalOptions, type TemporalOptions } from '../temporal-options.ts';

interface ControlOptions extends TemporalOptions {
  readonly logFormat: LogFormat;
  readonly config?: string;
  readonly metricsPort?: number;
}

interface ProcessOptions extends TemporalOptions {
  readonly logFormat: LogFormat;
  readonly config: string;
  readonly controlConfig?: string;
  readonly metricsPort?: number;
  readonly port: number;
  readonly uiPort: number;
  readonly apiPort: number;
  readonly tokens: boolean;
}

export function addProcesses(program: Command): void {
  const configured = (command: Command) =>
    command.option('--config <file>', "the agent's configuration", defaultConfigFile);
  configured(program.command('dev'))
    .description(
      'a Temporal server, the control worker, its store, the API, and this machine’s agent',
    )
    .option('--control-config <file>', 'of the control plane: its store, its notices')
    .option('--port <port>', 'of the Temporal frontend', parsePort, 7233)
    .option('--ui-port <port>', 'of the Temporal web UI', parsePort, 8233)
    .option('--api-port <port>', 'of the HTTP API on 127.0.0.1', parsePort, 8240)
    .option('--no-tokens', 'the API takes requests without a token')
    .addOption(logFormatOption())
    .addHelpText('after', '\nExample:\n  quorumshift dev --config agent.json')
    .action(dev);
  const measured = (command: Command) =>
    command
      .option('--metrics-port <port>', 'of 127.0.0.1: Prometheus at /metrics', parsePort)
      .addOption(logFormatOption());
  measured(configured(addTemporalOptions(program.command('agent'))))
    .description('the agent of this machine')
    .addHelpText('after', '\nExample:\n  quorumshift agent --config agent.json')
    .action(agent);
  measured(addTemporalOptions(program.command('control')))
    .description('a control worker: runs workflows, touches no machine')
    .option('--config <file>', 'of the control plane: with it, the worker of its store runs here')
    .addHelpText('after', '\nExample:\n  quorumshift control --config control.yaml')
    .action(control);
}

async function dev(options: ProcessOptions): Promise<void> {
  const log = processLog('dev', options.logFormat);
  const config = await readAgentConfig(options.config);
  const controlConfig =
    options.controlConfig === undefined
      ? devControlConfig(config)
      : await readControlConfig(options.controlConfig);
  const { port, uiPort } = options;
  const environment = await startDev({ config, control: controlConfig, log, port, uiPort });
  try {
    const listen = `127.0.0.1:${options.apiPort}`;
    const api = overridden(controlConfig.api, listen, options.tokens);
    const served = await serveApi(environment, { ...controlConfig, api });
    log(`Temporal is at ${environment.address}`);
    if (environment.uiUrl !== null) log(`Temporal UI: ${environment.uiUrl}`);
    log(apiText(served.url, api));
    onStop(async () => {
      await served.close();
      await environment.stop();
    });
  } catch (error) {
    await environment.stop();
    throw error;
  }
  await environment.ended;
}

async function agent(options: ProcessOptions): Promise<void> {
  const log = processLog('agent', options.logFormat);
  const target = targetOf(options);
  const context = await agentContext(await readAgentConfig(options.config), log);
  const connection = await connectWorker(target, log, options.metricsPort);
  const workers = await createAgentWorkers({ ...target, connection, context });
  log(`agent ${context.agentId} of machine ${context.config.host} is ready`);
  onStop(() => workers.shutdown());
  await workers.run();
  await connection.close();
}

async function control(options: ControlOptions): Promise<void> {
  const log = processLog('control', options.logFormat);
  const target = targetOf(options);
  const config = options.config === undefined ? null : await readControlConfig(options.config);
  const connection = await connectWorker(target, log, options.metricsPort);
  const worker = await createControlWorker({ connection, namespace: target.namespace });
  const store =
    config === null ? null : await createStoreWorker({ ...target, connection, config, log });
  log(config === null ? 'control worker is ready' : `control worker is ready, with the store`);
  onStop(() => {
    drain(worker);
    store?.shutdown();
  });
  await Promise.all([worker.run(), store?.run()]);
  await connection.close();
}

function targetOf({ address, namespace }: TemporalOptions) {
  return temporalTarget({
    ...(address !== undefined && { address }),
    ...(namespace !== undefined && { namespace }),
  });
}

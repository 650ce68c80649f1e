/** Long-running processes: `quorumshift dev`, `agent` and `control`. */
import type { Command } from 'commander';

import { agentContext, createAgentWorkers } from '../../worker/agent-worker.ts';
import { defaultConfigFile, readAgentConfig } from '../../worker/agent-configuration.ts';
import { createControlWorker } from '../../worker/control-worker.ts';
import { startDev } from '../../worker/dev.ts';
import { connectWorker, temporalTarget } from '../../worker/temporal-connection.ts';
import { onStop } from '../on-stop.ts';
import { parsePort } from '../output.ts';
import { addTemporalOptions, type TemporalOptions } from '../temporal-options.ts';

interface ProcessOptions extends TemporalOptions {
  readonly config: string;
  readonly port: number;
  readonly uiPort: number;
}

export function addProcesses(program: Command): void {
  const configured = (command: Command) =>
    command.option('--config <file>', "the agent's configuration", defaultConfigFile);
  configured(program.command('dev'))
    .description('a Temporal server, the control worker and this machine’s agent, in one')
    .option('--port <port>', 'of the Temporal frontend', parsePort, 7233)
    .option('--ui-port <port>', 'of the Temporal web UI', parsePort, 8233)
    .addHelpText('after', '\nExample:\n  quorumshift dev --config agent.json')
    .action(dev);
  configured(addTemporalOptions(program.command('agent')))
    .description('the agent of this machine')
    .addHelpText('after', '\nExample:\n  quorumshift agent --config agent.json')
    .action(agent);
  addTemporalOptions(program.command('control'))
    .description('a control worker: runs workflows, touches no machine')
    .addHelpText('after', '\nExample:\n  quorumshift control --address localhost:7233')
    .action(control);
}

async function dev(options: ProcessOptions): Promise<void> {
  const config = await readAgentConfig(options.config);
  const environment = await startDev({
    config,
    log,
    port: options.port,
    uiPort: options.uiPort,
  });
  log(`Temporal is at ${environment.address}`);
  if (environment.uiUrl !== null) log(`Temporal UI: ${environment.uiUrl}`);
  onStop(() => environment.stop());
  await environment.ended;
}

async function agent(options: ProcessOptions): Promise<void> {
  const target = targetOf(options);
  const context = await agentContext(await readAgentConfig(options.config));
  const connection = await connectWorker(target);
  const workers = await createAgentWorkers({ ...target, connection, context });
  log(`agent ${context.agentId} of machine ${context.config.host} is ready`);
  onStop(() => workers.shutdown());
  await workers.run();
  await connection.close();
}

async function control(options: ProcessOptions): Promise<void> {
  const target = targetOf(options);
  const connection = await connectWorker(target);
  const worker = await createControlWorker({ connection, namespace: target.namespace });
  log('control worker is ready');
  onStop(() => worker.shutdown());
  await worker.run();
  await connection.close();
}

function targetOf({ address, namespace }: TemporalOptions) {
  return temporalTarget({
    ...(address !== undefined && { address }),
    ...(namespace !== undefined && { namespace }),
  });
}

function log(line: string): void {
  process.stderr.write(`${line}\n`);
}

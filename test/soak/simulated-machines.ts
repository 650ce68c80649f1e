/**
 * Simulated machines as a process:
 *
 *     node dist/test/soak/simulated-machines.js <configuration file>
 */
import { readFileSync } from 'node:fs';

import { DefaultLogger, NativeConnection, Runtime } from '@temporalio/worker';

import { SimulatedAgents, type SimulatedMachines } from './simulated-agents.ts';

const [configuration = ''] = process.argv.slice(2);
const { address, namespace, ...machines } = JSON.parse(
  readFileSync(configuration, 'utf8'),
) as SimulatedMachines & { readonly address: string; readonly namespace: string };
// Failed attempts are meant.
Runtime.install({ logger: new DefaultLogger('ERROR') });
const connection = await NativeConnection.connect({ address });
const agents = new SimulatedAgents(machines);
const workers = await agents.workers(connection, namespace);
process.once('SIGTERM', () => {
  for (const worker of workers) worker.shutdown();
});
const ended = Promise.all(workers.map((worker) => worker.run()));
process.stdout.write('ready\n');
await ended;
agents.close();

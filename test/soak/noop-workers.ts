/** Runs the no-op workflows and their activity, as a process beside the fleet's own. */
import { fileURLToPath } from 'node:url';

import { bundleWorkflowCode, NativeConnection, Worker } from '@temporalio/worker';

import { processLog } from '../../worker/process-log.ts';
import { installRuntime, sdkLogger } from '../../worker/temporal-runtime.ts';

const [address = '', namespace = ''] = process.argv.slice(2);
const log = processLog('no-ops', 'text');
installRuntime(log);
const connection = await NativeConnection.connect({ address });
const workflowsPath = fileURLToPath(new URL('noop-workflows.js', import.meta.url));
const shared = { connection, namespace, taskQueue: 'noop' };
const workers = [
  await Worker.create({
    ...shared,
    workflowBundle: await bundleWorkflowCode({ workflowsPath, logger: sdkLogger(log) }),
  }),
  await Worker.create({ ...shared, activities: { noop: async () => {} } }),
];
process.stdout.write('ready\n');
await Promise.all(workers.map((worker) => worker.run()));

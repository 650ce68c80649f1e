/** Runs the no-op workflows and their activity, as a process beside the fleet's own. */
import { fileURLToPath } from 'node:url';

import { bundleWorkflowCode, NativeConnection, Worker } from '@temporalio/worker';

const [address = '', namespace = ''] = process.argv.slice(2);
const connection = await NativeConnection.connect({ address });
const workflowsPath = fileURLToPath(new URL('noop-workflows.js', import.meta.url));
const shared = { connection, namespace, taskQueue: 'noop' };
const workers = [
  await Worker.create({ ...shared, workflowBundle: await bundleWorkflowCode({ workflowsPath }) }),
  await Worker.create({ ...shared, activities: { noop: async () => {} } }),
];
process.stdout.write('ready\n');
await Promise.all(workers.map((worker) => worker.run()));

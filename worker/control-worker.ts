/** The control worker: runs workflows, touches no machine. Any number of them may run. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { bundleWorkflowCode, Worker, type NativeConnection } from '@temporalio/worker';

import { controlTaskQueue } from '../core/ids.ts';

/** Sticky tasks wait this long for a worker that was killed; the default of 10 s stalls a migration. */
const stickyTimeout = '1s';

/** What is under way may finish before a stop. */
const shutdownGrace = '5s';

/** Each cached workflow holds some 100 kB. */
const maxCachedWorkflows = 500;

/** Made by `npm run build`; without it the bundle is made at start (1.5 to 3 s). */
const prebuilt = fileURLToPath(new URL('../workflow-bundle.js', import.meta.url));

export async function createControlWorker(options: {
  readonly connection: NativeConnection;
  readonly namespace: string;
  /** Another queue than the product's, for tests. */
  readonly taskQueue?: string;
}): Promise<Worker> {
  const { connection, namespace } = options;
  return Worker.create({
    connection,
    namespace,
    taskQueue: options.taskQueue ?? controlTaskQueue,
    workflowBundle: await workflowBundle(),
    stickyQueueScheduleToStartTimeout: stickyTimeout,
    shutdownGraceTime: shutdownGrace,
    maxCachedWorkflows,
  });
}

async function workflowBundle(): Promise<{ code: string } | { codePath: string }> {
  if (existsSync(prebuilt)) return { codePath: prebuilt };
  return bundleWorkflows();
}

/** The workflow code as one script. */
export async function bundleWorkflows(): Promise<{ code: string }> {
  const workflowsPath = fileURLToPath(new URL('../workflows/index.js', import.meta.url));
  return bundleWorkflowCode({ workflowsPath });
}

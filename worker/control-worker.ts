/** The control worker: runs workflows, touches no machine. Any number of them may run. */
import { Worker, type NativeConnection } from '@temporalio/worker';

import { controlTaskQueue } from '../core/ids.ts';
import { workflowBundle } from './workflow-bundle.ts';

/**
 * Sticky tasks wait this long for a worker that was killed; the default of 10 s stalls a migration.
 */
const stickyTimeout = '1s';

/** What is under way may finish before a stop. */
const shutdownGrace = '5s';

/** Each cached workflow holds some 100 kB. */
const maxCachedWorkflows = 500;

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

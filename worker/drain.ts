import type { Worker } from '@temporalio/worker';

/** Ends it in order. The SDK does so too on a signal, of which we may hear first or last. */
export function drain(worker: Worker): void {
  if (worker.getState() === 'RUNNING') worker.shutdown();
}

import type { Worker } from '@temporalio/worker';

/** Ends it in order. The SDK does that by itself on a signal, of which we may hear later. */
export function drain(worker: Worker): void {
  if (worker.getState() === 'RUNNING') worker.shutdown();
}

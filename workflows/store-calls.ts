/** Proxy of the control plane's own store. */
import { proxyActivities } from '@temporalio/workflow';

import type { StoreActivities } from '../activities/contract.ts';
import { storeTaskQueue } from '../core/ids.ts';

/**
 * Idempotent, and needed: retried until the store is there. What waits for it says so itself.
 * @param startToCloseTimeout milliseconds, after which an attempt counts as lost with its process
 */
export function storeCalls(startToCloseTimeout = 30_000) {
  return proxyActivities<StoreActivities>({
    taskQueue: storeTaskQueue,
    startToCloseTimeout,
    retry: { initialInterval: 500, backoffCoefficient: 2, maximumInterval: 10_000 },
  });
}

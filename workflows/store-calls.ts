/** Proxy of the control plane's own store. */
import { proxyActivities } from '@temporalio/workflow';

import type { StoreActivities } from '../activities/contract.ts';
import { storeTaskQueue } from '../core/ids.ts';

/**
 * Idempotent, and needed: retried until the store is there. What waits for it says so itself.
 */
export function storeCalls() {
  return proxyActivities<StoreActivities>({
    taskQueue: storeTaskQueue,
    startToCloseTimeout: 30_000,
    retry: { initialInterval: 500, backoffCoefficient: 2, maximumInterval: 10_000 },
  });
}

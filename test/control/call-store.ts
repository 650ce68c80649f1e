/** A workflow that asks the store for one thing. */
import { proxyActivities } from '@temporalio/workflow';

import type { StoreActivities } from '../../activities/contract.ts';

export async function callStore<Name extends keyof StoreActivities>(given: {
  readonly taskQueue: string;
  readonly name: Name;
  readonly request: Parameters<StoreActivities[Name]>[0];
}): Promise<unknown> {
  const { taskQueue, name, request } = given;
  const calls = proxyActivities<Record<string, (request: unknown) => Promise<unknown>>>({
    taskQueue,
    startToCloseTimeout: 10_000,
    retry: { maximumAttempts: 3 },
  });
  return calls[name]?.(request);
}

/** Tells Temporal, when an agent starts, which attempts died with the agent before it. */
import { ActivityNotFoundError, type Client } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';

import { reportOrphans } from '../activities/orphaned-attempts.ts';
import { nodeFileLayer } from '../storage/node-file-layer.ts';

export async function failOrphanedAttempts(client: Client, stateDir: string): Promise<void> {
  await reportOrphans(nodeFileLayer, stateDir, async (taskToken) => {
    try {
      const failure = ApplicationFailure.retryable('the agent has restarted', 'agent.restarted');
      await client.activity.fail(taskToken, failure);
    } catch (error) {
      // It ended long ago, or Temporal has noticed already.
      if (!(error instanceof ActivityNotFoundError)) throw error;
    }
  });
}

/** Tells Temporal, when an agent starts, which attempts died with the agent before it. */
import { ActivityCompletionError, ActivityNotFoundError, type Client } from '@temporalio/client';
import { ApplicationFailure, NamespaceNotFoundError } from '@temporalio/common';

import { reportOrphans } from '../activities/orphaned-attempts.ts';
import { nodeFileLayer } from '../storage/node-file-layer.ts';

export async function failOrphanedAttempts(client: Client, stateDir: string): Promise<void> {
  await reportOrphans(nodeFileLayer, stateDir, async (taskToken) => {
    try {
      const failure = ApplicationFailure.retryable('the agent has restarted', 'agent.restarted');
      await client.activity.fail(taskToken, failure);
    } catch (error) {
      // It ended long ago, Temporal has noticed already, or the token is of another server's (its
      // database was lost). Where one that lives could not be told, its heartbeat time-out will.
      if (error instanceof ActivityNotFoundError || error instanceof NamespaceNotFoundError) return;
      if (!(error instanceof ActivityCompletionError)) throw error;
    }
  });
}

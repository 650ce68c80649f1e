/** The agent: runs the activities of its machine, on a queue for work and one for steering it. */
import { Worker, type NativeConnection } from '@temporalio/worker';

import type { AgentContext } from '../activities/agent-context.ts';
import { createControlActivities, createHostActivities } from '../activities/create-activities.ts';
import { configuredAdapters } from '../activities/raft-adapters/registry.ts';
import { hostControlTaskQueue, hostTaskQueue } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { findHolders } from '../storage/binding/open-files.ts';
import { defaultFamilies } from '../storage/families/registry.ts';
import { nodeFileLayer } from '../storage/node-file-layer.ts';
import { failOrphanedAttempts } from './report-orphans.ts';
import { connectClient } from './temporal-connection.ts';
import type { AgentConfig } from '../schemas/agent-config.ts';
import { agentIdentity } from './agent-identity.ts';
import { drain } from './drain.ts';

/** Bulk work of more replicas at once would only share the disk. */
const concurrentSteps = 4;

/** Steering is short; it must never wait behind work. */
const concurrentControl = 16;

/** One or two polls a queue: a fleet has thousands of queues (orchestration.md). */
const pollers = { type: 'simple-maximum', maximum: 2 } as const;

/** What is under way is told to stop, and may end, before the process does. */
const shutdownGrace = '5s';

/** How soon a pause, a cancel or a progress line passes (the default waits 60 s). */
const heartbeatThrottle = '1s';

export interface AgentWorkers {
  /** Resolves when both have drained; rejects when one failed. */
  run(): Promise<void>;
  shutdown(): void;
}

export async function agentContext(config: AgentConfig, log: Log): Promise<AgentContext> {
  const agentId = await agentIdentity(nodeFileLayer, config.stateDir);
  return {
    config,
    agentId,
    files: nodeFileLayer,
    families: defaultFamilies(),
    findHolders,
    now: () => new Date(),
    memberAdapter: configuredAdapters(config),
    log,
  };
}

export async function createAgentWorkers(options: {
  readonly connection: NativeConnection;
  readonly address: string;
  readonly namespace: string;
  readonly context: AgentContext;
}): Promise<AgentWorkers> {
  const { connection, namespace, context } = options;
  const client = await connectClient(options);
  await failOrphanedAttempts(client, context.config.stateDir);
  await client.connection.close();
  const shared = {
    connection,
    namespace,
    activityTaskPollerBehavior: pollers,
    shutdownGraceTime: shutdownGrace,
    maxHeartbeatThrottleInterval: heartbeatThrottle,
    defaultHeartbeatThrottleInterval: heartbeatThrottle,
  };
  const work = await Worker.create({
    ...shared,
    taskQueue: hostTaskQueue(context.config.host),
    activities: createHostActivities(context),
    maxConcurrentActivityTaskExecutions: concurrentSteps,
  });
  const control = await Worker.create({
    ...shared,
    taskQueue: hostControlTaskQueue(context.config.host),
    activities: createControlActivities(context),
    maxConcurrentActivityTaskExecutions: concurrentControl,
  });
  return {
    run: async () => {
      await Promise.all([work.run(), control.run()]);
    },
    shutdown: () => {
      drain(work);
      drain(control);
    },
  };
}

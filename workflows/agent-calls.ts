/** Proxies of the agent's activities, by kind of call. */
import { proxyActivities } from '@temporalio/workflow';

import type { ControlActivities, HostActivities } from '../activities/contract.ts';
import { hostControlTaskQueue, hostTaskQueue } from '../core/ids.ts';
import { phases, type StepPhase } from '../core/phases.ts';
import { askAgent, bulkOnHost, changeOnHost, hookOnHost, steerAgent } from './retry-policies.ts';

export function agentCalls(host: string) {
  const taskQueue = hostTaskQueue(host);
  const controlQueue = hostControlTaskQueue(host);
  const byKind = {
    hook: proxyActivities<HostActivities>({ ...hookOnHost, taskQueue }),
    bulk: proxyActivities<HostActivities>({ ...bulkOnHost, taskQueue }),
    change: proxyActivities<HostActivities>({ ...changeOnHost, taskQueue }),
  };
  return {
    ask: proxyActivities<ControlActivities>({ ...askAgent, taskQueue: controlQueue }),
    steer: proxyActivities<ControlActivities>({ ...steerAgent, taskQueue: controlQueue }),
    change: byKind.change,
    /** Reads the whole log, and answers at its end. */
    measure: byKind.bulk,
    /** Tried once: the next probe follows. */
    probe: proxyActivities<HostActivities>({
      ...hookOnHost,
      taskQueue,
      retry: { maximumAttempts: 1 },
    }),
    step: (phase: StepPhase) => byKind[phases[phase].kind][phase],
  };
}

export type AgentCalls = ReturnType<typeof agentCalls>;

/** The fleets whose histories are kept: how each is recorded, and under which names. */
import type { Client, WorkflowExecutionInfo } from '@temporalio/client';
import { expect } from 'vitest';

import { MachineClient } from '../../client/machine-client.ts';
import { ScheduleClient } from '../../client/schedule-client.ts';
import {
  clusterWorkflowId,
  fleetWorkflowId,
  replicaWorkflowId,
  scheduleWatchWorkflowId,
} from '../../core/ids.ts';
import type { ClusterStatus } from '../../workflows/rollout-messages.ts';
import type { FleetEnvironment } from '../fleet/fleet-environment.ts';
import { eventually } from './migration-environment.ts';

/** A fleet whose canary fails and is mended, and whose waves are approved. */
const fleetRuns = {
  'fleet-audited': fleetWorkflowId('recorded'),
};

async function recordFleet(environment: FleetEnvironment): Promise<void> {
  const { client } = environment;
  await environment.breakProbe('a');
  const files = await environment.files({
    waves: [{ clusters: 1 }, { clusters: '100%' }],
    approval: 'per-wave',
    finalize: 'per-wave',
  });
  await environment.cli('fleet', 'start', 'recorded', ...files, '--id', 'recorded');
  const waits = (kind: string) =>
    environment.until('recorded', `it waits: ${kind}`, ({ waiting }) => waiting?.kind === kind);
  await waits('budget');
  await environment.mend('a');
  await client.stop('recorded', 'recorded');
  await client.skip('recorded', 'c');
  await client.resume('recorded');
  await waits('wave-approval');
  await client.throttle('recorded', 1_000_000);
  await client.approve('recorded');
  await environment.outcome('recorded');
}

/** A cluster in a window, that soaks, is probed, paused and resumed, and ends at its deadline. */
const windowRuns = {
  'fleet-in-window': fleetWorkflowId('window'),
  'cluster-in-window': clusterWorkflowId('a'),
  'member-in-window': replicaWorkflowId({ cluster: 'a', member: 'n2' }),
};

async function recordWindow(environment: FleetEnvironment): Promise<void> {
  const { client, clusters } = environment;
  await environment.changeViews('b', { changePending: true });
  const files = await environment.files({
    windows: [{ from: '00:00', to: '00:00' }],
    atWindowEnd: 'detach',
    waves: [{ clusters: '100%' }],
    concurrency: { clusters: 1 },
    approval: 'per-cluster',
    finalize: 'per-cluster',
    soakSeconds: 5,
    deadlineSeconds: 50,
    replica: { probeEverySeconds: 1 },
  });
  const only = ['--clusters', 'a', 'b', '--id', 'window'];
  await environment.cli('fleet', 'start', 'window', ...files, ...only);
  const untilCluster = (what: string, holds: (status: ClusterStatus) => boolean) =>
    eventually(what, async () => {
      const seen = await clusters.status('a').catch(() => null);
      return seen?.status != null && holds(seen.status);
    });
  await untilCluster('it waits for approval', ({ waiting }) => waiting?.kind === 'approval');
  await clusters.pause('a');
  await untilCluster('it is paused', ({ waiting }) => waiting?.kind === 'paused');
  await clusters.approve('a');
  await clusters.resume('a');
  await client.result('window');
}

/** A cluster that moves in two steps, each in a slot of its fleet's, in which it is paused. */
const stagedRuns = {
  'fleet-staged': fleetWorkflowId('staged'),
  'cluster-staged': clusterWorkflowId('a'),
  /** Whose program is replaced. */
  'member-replaced': replicaWorkflowId({ cluster: 'a', member: 'n2' }),
};

async function recordStaged(environment: FleetEnvironment): Promise<void> {
  const { client } = environment;
  const files = await environment.files({
    shape: 'staged',
    waves: [{ clusters: '100%' }],
    concurrency: { clusters: 1 },
    finalize: 'manual',
  });
  await environment.cli('fleet', 'start', 'staged', ...files, '--id', 'staged');
  for (const step of ['storage', 'binary']) {
    await environment.untilCluster('a', `all have soaked: ${step}`, ({ members, waiting }) => {
      return waiting?.kind === 'finalize' && members.every((member) => member.step === step);
    });
    await environment.until('staged', 'it says so', ({ waiting }) => waiting?.kind === 'finalize');
    await client.pause('staged');
    await client.resume('staged');
    await client.complete('staged');
  }
  expect(await environment.outcome('staged')).toBe('finalized');
}

/** A cluster that is started again, loses a member's workflow, and finalizes one that is paused. */
const goneRuns = {
  'cluster-started-again': clusterWorkflowId('a'),
  'member-adopted': replicaWorkflowId({ cluster: 'a', member: 'n2' }),
};

async function recordGone(environment: FleetEnvironment): Promise<void> {
  const { clusters } = environment;
  const [cluster, member] = Object.values(goneRuns).map((id) => environment.workflow(id));
  const start = async () => {
    await environment.startCluster('a', { approval: 'per-cluster' }, 'gone');
    await environment.untilCluster('a', 'one waits', ({ members, waiting }) => {
      return waiting?.kind === 'approval' && members.some(({ report }) => report?.proof != null);
    });
  };
  await start();
  await cluster?.terminate('recorded');
  await start();
  await member?.terminate('recorded');
  await clusters.approve('a');
  await environment.untilCluster('a', 'all have soaked', ({ waiting }) => {
    return waiting?.kind === 'finalize';
  });
  await member?.signal('memberOrder', { order: 'pause', by: 'recorded', operationId: 'pause' });
  await clusters.complete('a');
  await environment.untilCluster('a', 'the others are finalized', ({ members }) => {
    return members.filter(({ stage }) => stage === 'finalized').length === 2;
  });
  await clusters.resume('a');
  await cluster?.result();
}

interface RecordedFleet {
  readonly clusters: readonly string[];
  /** Those whose programs can be replaced. */
  readonly withPrograms: readonly string[];
  record(environment: FleetEnvironment): Promise<void>;
  /** Workflow ids by the names of their histories. */
  readonly runs: Readonly<Record<string, string>>;
}

export const recordedFleets: Readonly<Record<string, RecordedFleet>> = {
  'a fleet': { clusters: ['a', 'b', 'c'], withPrograms: [], record: recordFleet, runs: fleetRuns },
  'a window': { clusters: ['a', 'b'], withPrograms: [], record: recordWindow, runs: windowRuns },
  'what was gone': { clusters: ['a'], withPrograms: [], record: recordGone, runs: goneRuns },
  'two steps': { clusters: ['a'], withPrograms: ['a'], record: recordStaged, runs: stagedRuns },
};

/** The only history of its type, by that. */
export const othersByType = {
  'scheduled-fleet': 'scheduledFleet',
  'watch-schedule': 'watchSchedule',
  'plan-replica': 'planReplica',
  'plan-cluster': 'planCluster',
  'read-machines': 'readMachines',
  'list-machine-replicas': 'listMachineReplicas',
  'list-replica-proofs': 'listReplicaProofs',
  'read-replica-proof': 'readReplicaProof',
} as const;

/** A schedule whose run waits for a rollout that is under way; then it is deleted. */
export async function recordSchedule(environment: FleetEnvironment): Promise<void> {
  const { client, temporal } = environment;
  const files = await environment.files({ finalize: 'per-cluster', approval: 'per-cluster' });
  await environment.cli('fleet', 'start', 'recorded', ...files, '--clusters', 'a', '--id', 'hand');
  const at = new Date(Math.ceil(Date.now() / 1000) * 1000 + 5_000).toISOString();
  const given = ['--fleet', 'recorded', '--clusters', 'b', '--at', at, '--overlap', 'buffer-one'];
  const approved = await environment.files({ finalize: 'per-cluster' });
  await environment.cli('schedule', 'create', 'recorded', ...approved, ...given);
  await eventually('its run waits', async () => {
    const [run] = await runsOf(temporal, 'scheduledFleet');
    if (run === undefined) return false;
    const { events } = await temporal.workflow.getHandle(run.workflowId).fetchHistory();
    return events?.some((event) => event.timerStartedEventAttributes != null);
  });
  await environment.clusters.approve('a');
  await client.result('recorded');
  await eventually(
    'its run has ended',
    async () => {
      const runs = await runsOf(temporal, 'scheduledFleet');
      return runs.some(({ status }) => status.name === 'COMPLETED');
    },
    180_000,
  );
  await new ScheduleClient({ client: temporal }).delete('recorded');
  await temporal.workflow.getHandle(scheduleWatchWorkflowId('recorded')).result();
}

/** What only asks. */
export async function recordQuestions(environment: FleetEnvironment): Promise<void> {
  const files = await environment.files({});
  await environment.cli('cluster', 'plan', 'c', ...files);
  const [source = ''] = environment.sources('c');
  const target = environment.target('c', 'n1');
  const host = environment.machines.at(-1) ?? '';
  const at = ['--host', host, '--source', source, '--target', target];
  await environment.cli('plan', 'c/n1', ...at);
  const machines = new MachineClient(environment.temporal);
  await machines.machines(environment.machines);
  await machines.replicas(environment.machines);
  const replica = { cluster: 'c', member: 'n1' };
  const { files: proofs } = await machines.proofs(host, { replica, after: null, limit: 1 });
  expect(proofs).toEqual([]);
  await expect(machines.proof(host, replica, 'none.json')).rejects.toThrow(/none\.json/);
}

export async function runsOf(temporal: Client, type: string) {
  const runs: WorkflowExecutionInfo[] = [];
  const query = `WorkflowType = "${type}"`;
  for await (const run of temporal.workflow.list({ query })) runs.push(run);
  return runs;
}

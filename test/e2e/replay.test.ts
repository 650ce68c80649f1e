/**
 * Histories of finished migrations, replayed by the workflow code of today: a change that breaks
 * running workflows fails here. With `QUORUMSHIFT_UPDATE_GOLDEN=1` the migrations
 * run anew and their histories are written.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, join, resolve } from 'node:path';

import type { Client, WorkflowExecutionInfo } from '@temporalio/client';
import { Worker } from '@temporalio/worker';
import { describe, expect, test } from 'vitest';

import { MachineClient } from '../../client/machine-client.ts';
import { ScheduleClient } from '../../client/schedule-client.ts';
import {
  clusterWorkflowId,
  fleetWorkflowId,
  groupLeaseWorkflowId,
  replicaWorkflowId,
  scheduleWatchWorkflowId,
} from '../../core/ids.ts';
import { urisNow } from '../../storage/binding/parking.ts';
import { batchOf, EntryType } from '../../storage/entry-batch.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import * as workflows from '../../workflows/index.ts';
import type { ClusterStatus } from '../../workflows/rollout-messages.ts';
import { workflowBundle } from '../../worker/workflow-bundle.ts';
import { installRuntime } from '../../worker/temporal-runtime.ts';
import { FleetEnvironment } from '../fleet/fleet-environment.ts';
import { holdPhase } from '../soak/hold-phase.ts';
import { MigratingReplica } from '../soak/migrating-replica.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { ClusterEnvironment } from './cluster-environment.ts';
import { eventually, MigrationEnvironment } from './migration-environment.ts';

const histories = resolve('test/histories');
const update = process.env['QUORUMSHIFT_UPDATE_GOLDEN'] === '1';

/** How each recorded migration goes. */
const runs: Readonly<Record<string, (replica: MigratingReplica) => Promise<void>>> = {
  finalized: async (replica) => replica.end(await replica.begin(), 'finalized'),
  'rolled-back-from-soak': async (replica) => {
    const running = await replica.begin({ finalize: 'manual' });
    await replica.untilSoaking();
    await replica.rollBack();
    await replica.end(running, 'rolled-back');
  },
  'validation-failed': async (replica) => {
    const running = await replica.begin();
    await alterTargetBeforeValidation(replica, running.input.migrationId);
    await replica.end(running, 'rolled-back');
  },
};

/** Of the replica that a storage host serves: there, compared in the soak, and back. */
const liveRun = 'live-rolled-back-from-soak';

async function recordLive(environment: MigrationEnvironment): Promise<void> {
  const { client, replica } = environment;
  const host = await environment.startHost();
  try {
    await client.start(
      environment.input({
        source: environment.uri('local', 'a'),
        target: environment.uri('rocksdb', 'b'),
        policy: { finalize: 'manual', validateEverySeconds: 1, probeEverySeconds: 1 },
      }),
    );
    await eventually('a comparison in the soak', async () => {
      const { status } = await client.status(replica);
      return status?.results.some(({ did }) => did === 'soak-validate');
    });
    await client.rollback(replica, 'recorded');
    await environment.outcome();
  } finally {
    await host.end('SIGTERM');
  }
}

/** Recorded before rollouts wrote their lines, and told of a store that takes none. */
const unaudited = ['cluster-resumed', 'fleet-resumed'];

/** A cluster whose first member is rolled back and tried again, then all moved. */
const clusterRuns = {
  'cluster-audited': clusterWorkflowId('kv'),
  'group-lease': groupLeaseWorkflowId('kv'),
  /** One of its members' migrations. */
  coordinated: replicaWorkflowId({ cluster: 'kv', member: 'n1' }),
};

async function recordCluster(environment: ClusterEnvironment): Promise<void> {
  const { client, migrations } = environment;
  const [first = ''] = await environment.inOrder();
  await client.start(await environment.rollout({ approval: 'per-cluster' }));
  const waits = ({ members }: ClusterStatus) =>
    members.some(({ report }) => report?.waiting?.kind === 'approval');
  await environment.until('the first waits', waits);
  await migrations.rollback({ cluster: 'kv', member: first }, 'recorded');
  await environment.until('it has stopped', ({ members }) =>
    members.some(({ report }) => report?.outcome === 'rolled-back'),
  );
  await client.pause('kv');
  await client.approve('kv');
  await client.resume('kv');
  await environment.outcome();
  // It ends by itself, once nobody has asked for a while.
  const lease = environment.temporal.workflow.getHandle(clusterRuns['group-lease']);
  await lease.result();
}

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

/** The only history of its type, by that. */
const othersByType = {
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
async function recordSchedule(environment: FleetEnvironment): Promise<void> {
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
async function recordQuestions(environment: FleetEnvironment): Promise<void> {
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

async function runsOf(temporal: Client, type: string) {
  const runs: WorkflowExecutionInfo[] = [];
  const query = `WorkflowType = "${type}"`;
  for await (const run of temporal.workflow.list({ query })) runs.push(run);
  return runs;
}

describe('the workflow of today', () => {
  test.runIf(update)('writes the histories of a schedule anew', { timeout: 300_000 }, async () => {
    const environment = await FleetEnvironment.create({ machines: 3, clusters: ['a', 'b', 'c'] });
    try {
      await environment.run();
      await recordQuestions(environment);
      await recordSchedule(environment);
      for (const [name, type] of Object.entries(othersByType)) {
        const workflowId = await eventually(`a run of ${type}`, async () => {
          const [run] = await runsOf(environment.temporal, type);
          return run?.workflowId;
        });
        await writeHistory(environment.temporal, { workflowId, name });
      }
    } finally {
      await environment.close();
    }
  });

  test.runIf(update)('writes the histories of a fleet anew', { timeout: 240_000 }, async () => {
    const environment = await FleetEnvironment.create({ machines: 3, clusters: ['a', 'b', 'c'] });
    try {
      await environment.run();
      await recordFleet(environment);
      for (const [name, workflowId] of Object.entries(fleetRuns)) {
        await writeHistory(environment.temporal, { workflowId, name });
      }
    } finally {
      await environment.close();
    }
  });

  test.runIf(update)('writes the histories of a window anew', { timeout: 240_000 }, async () => {
    const environment = await FleetEnvironment.create({ machines: 3, clusters: ['a', 'b'] });
    try {
      await environment.run();
      await recordWindow(environment);
      for (const [name, workflowId] of Object.entries(windowRuns)) {
        await writeHistory(environment.temporal, { workflowId, name });
      }
    } finally {
      await environment.close();
    }
  });

  test.runIf(update)('writes the histories of a rollout anew', { timeout: 240_000 }, async () => {
    const environment = await ClusterEnvironment.start();
    try {
      await recordCluster(environment);
      for (const [name, workflowId] of Object.entries(clusterRuns)) {
        await writeHistory(environment.temporal, { workflowId, name });
      }
    } finally {
      await environment.close();
    }
  });

  test.runIf(update)('writes the histories anew', { timeout: 120_000 }, async () => {
    const environment = await MigrationEnvironment.create(await sharedTemporal());
    try {
      await Promise.all([environment.start('control'), environment.start('agent')]);
      for (const [name, run] of Object.entries(runs)) {
        const replica = await MigratingReplica.create(environment, name);
        await run(replica);
        await writeHistory(environment.temporal, {
          workflowId: replicaWorkflowId(replica.replica),
          name,
        });
      }
      await recordLive(environment);
      await writeHistory(environment.temporal, {
        workflowId: replicaWorkflowId(environment.replica),
        name: liveRun,
      });
    } finally {
      await environment.close();
    }
  });

  test('replays the histories of finished migrations', { timeout: 120_000 }, async () => {
    const files = (await readdir(histories)).filter((name) => name.endsWith('.json'));
    expect(files.map((file) => basename(file, '.json')).toSorted()).toEqual(
      [
        ...Object.keys(runs),
        liveRun,
        ...Object.keys(clusterRuns),
        ...Object.keys(fleetRuns),
        ...Object.keys(windowRuns),
        ...unaudited,
        ...Object.keys(othersByType),
      ].toSorted(),
    );
    const stored = await Promise.all(
      files.map(async (file) => ({
        workflowId: `replica/replayed/${basename(file, '.json')}`,
        history: JSON.parse(await readFile(join(histories, file), 'utf8')),
      })),
    );
    // Whoever adds a workflow records a run of it.
    const types = new Set(stored.map(({ history }) => typeOf(history)));
    expect(types).toEqual(new Set(Object.keys(workflows)));
    installRuntime();
    const bundle = await workflowBundle();
    const replayed: string[] = [];
    for await (const result of Worker.runReplayHistories({ workflowBundle: bundle }, stored)) {
      expect(result.error).toBeUndefined();
      replayed.push(result.workflowId);
    }
    expect(replayed).toHaveLength(stored.length);
  });
});

/** Appends an entry to the published target: it is whole and sound, and not the source's state. */
async function alterTargetBeforeValidation(
  replica: MigratingReplica,
  migrationId: string,
): Promise<void> {
  const families = defaultFamilies();
  const hold = await holdPhase(replica.store, { migrationId, phase: 'validate' });
  const target = (await hold?.read())?.migration?.target;
  if (target === undefined) throw new Error('the migration was not caught before its validation');
  const instance = await families.open(urisNow(families, target), 'read-write', {
    files: nodeFileLayer,
  });
  const { lastIndex, meta } = instance.state();
  const entry = {
    index: lastIndex + 1n,
    term: meta.term,
    type: EntryType.DATA,
    payload: Buffer.from('not in the source'),
  };
  await instance.apply({ entries: { after: lastIndex, batches: [batchOf([entry])] } });
  await instance.close();
  await hold?.release();
}

function typeOf(history: {
  readonly events: readonly {
    readonly workflowExecutionStartedEventAttributes?: {
      readonly workflowType?: { readonly name?: string };
    };
  }[];
}): string | undefined {
  return history.events[0]?.workflowExecutionStartedEventAttributes?.workflowType?.name;
}

/** Without the names of the machines that recorded it. */
async function writeHistory(
  temporal: Client,
  { workflowId, name }: { readonly workflowId: string; readonly name: string },
): Promise<void> {
  const handle = temporal.workflow.getHandle(workflowId);
  const text = JSON.stringify(plain(await handle.fetchHistory()), null, 1);
  const anonymous = text.replaceAll(hostname(), 'machine');
  await writeFile(join(histories, `${name}.json`), `${anonymous}\n`);
}

/**
 * A history as JSON that the server's own encoding takes back: bytes as base64, int64 (event
 * numbers, times) as numbers. (The SDK's converter to JSON needs one copy of protobufjs in the
 * whole tree.)
 */
function plain(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (Array.isArray(value)) return value.map(plain);
  if ('low' in value && 'high' in value) return Number(String(value));
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

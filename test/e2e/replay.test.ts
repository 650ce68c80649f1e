/**
 * Histories of finished migrations, replayed by the workflow code of today: a change that breaks
 * running workflows fails here. With `QUORUMSHIFT_UPDATE_GOLDEN=1` the migrations
 * run anew and their histories are written.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, join, resolve } from 'node:path';

import type { Client } from '@temporalio/client';
import { Worker } from '@temporalio/worker';
import { describe, expect, test } from 'vitest';

import { quiet } from '../../core/log.ts';
import { clusterWorkflowId, groupLeaseWorkflowId, replicaWorkflowId } from '../../core/ids.ts';
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
import {
  othersByType,
  recordedFleets,
  recordQuestions,
  recordSchedule,
  runsOf,
} from './recorded-fleets.ts';

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

  test.runIf(update).each(Object.entries(recordedFleets))(
    'writes the histories of %s anew',
    { timeout: 240_000 },
    async (_, { clusters, withPrograms, record, runs: kept }) => {
      const environment = await FleetEnvironment.create({ machines: 3, clusters, withPrograms });
      try {
        await environment.run();
        await record(environment);
        for (const [name, workflowId] of Object.entries(kept)) {
          await writeHistory(environment.temporal, { workflowId, name });
        }
      } finally {
        await environment.close();
      }
    },
  );

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
        ...Object.values(recordedFleets).flatMap((fleet) => Object.keys(fleet.runs)),
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
    installRuntime(quiet);
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

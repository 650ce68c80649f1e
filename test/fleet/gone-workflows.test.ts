import { mkdir, writeFile } from 'node:fs/promises';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import {
  clusterWorkflowId,
  controlTaskQueue,
  groupLeaseWorkflowId,
  replicaWorkflowId,
} from '../../core/ids.ts';
import type { MigrationStatus } from '../../workflows/messages.ts';
import type { ClusterStatus, LeaseStatus } from '../../workflows/rollout-messages.ts';
import { eventually } from '../e2e/migration-environment.ts';
import { missing } from '../setup/toolchain.ts';
import { FleetEnvironment } from './fleet-environment.ts';

const long = { timeout: 300_000 };

describe.skipIf(missing('temporal'))('a rollout whose workflows go, and come again', () => {
  let environment: FleetEnvironment;

  beforeAll(async () => {
    const clusters = ['a', 'b', 'c', 'd', 'e'];
    environment = await FleetEnvironment.create({ machines: 3, clusters });
    await environment.run();
  }, 120_000);

  afterAll(async () => environment.close());

  const start: FleetEnvironment['startCluster'] = (...of) => environment.startCluster(...of);

  const until: FleetEnvironment['untilCluster'] = (...of) => environment.untilCluster(...of);

  const workflow: FleetEnvironment['workflow'] = (id) => environment.workflow(id);

  const memberOf = (cluster: string, member: string) =>
    workflow(replicaWorkflowId({ cluster, member }));

  const untilOneWaits = async (cluster: string): Promise<string> => {
    const seen = await until(
      cluster,
      'one waits for its cutover',
      ({ members, waiting }: ClusterStatus) =>
        waiting?.kind === 'approval' && members.some(({ report }) => report?.proof != null),
    );
    return seen.members.find(({ report }) => report?.proof != null)?.member ?? '';
  };

  const untilAllSoak = (cluster: string) =>
    until(cluster, 'all soak', ({ stage, waiting }) => {
      return stage === 'soaking' && waiting?.kind === 'finalize';
    });

  const rollBack = async (cluster: string) => {
    await environment.clusters.rollback(cluster, { member: null, reason: 'test' });
    await until(cluster, 'it has ended', ({ outcome }) => outcome !== null);
    expect((await environment.clusters.result(cluster)).outcome).toBe('rolled-back');
  };

  test('a member that cannot be told anything is adopted [OPS-6]', long, async () => {
    await start('a', { approval: 'per-cluster' });
    await untilOneWaits('a');
    // The run that has started it would hear of its end.
    await workflow(clusterWorkflowId('a')).terminate('test');
    await start('a', { approval: 'per-cluster' });
    const member = await untilOneWaits('a');
    await memberOf('a', member).terminate('test');
    await environment.clusters.approve('a');
    await untilAllSoak('a');
    await memberOf('a', member).terminate('test');
    await rollBack('a');
    expect(await environment.primaries('a')).toEqual(environment.sources('a'));
  });

  test(
    'a fleet’s way back that a cluster has lost is told to its next run [OPS-6]',
    long,
    async () => {
      const files = await environment.files({ finalize: 'per-wave', soakSeconds: 600 });
      await environment.cli('fleet', 'start', 'f', ...files, '--clusters', 'b', '--id', 'r');
      await until('b', 'all soak', ({ stage, members }) => {
        return stage === 'soaking' && members.every((one) => one.stage === 'soaking');
      });
      for (const machine of environment.machines) await environment.kill(machine);
      await environment.client.rollback('f', 'test');
      await until('b', 'it is to go back', ({ stage }) => stage === 'rolling-back');
      await workflow(clusterWorkflowId('b')).terminate('test');
      await environment.until('f', 'it needs an operator', ({ counts }) => counts.failed > 0);
      await environment.client.resume('f');
      await environment.run(environment.machines);
      expect(await environment.outcome('f')).toBe('rolled-back');
      expect(await environment.primaries('b')).toEqual(environment.sources('b'));
    },
  );

  test(
    'what moves goes on, and back, while others fail their checks [ROLL-2] [OPS-3]',
    long,
    async () => {
      const { clusters } = environment;
      await start('c', { approval: 'per-cluster' });
      const member = await untilOneWaits('c');
      await workflow(clusterWorkflowId('c')).terminate('test');
      const other = ['n1', 'n2', 'n3'].find((name) => name !== member) ?? '';
      const inTheWay = environment.target('c', other).slice('rocksdb://'.length);
      await mkdir(inTheWay, { recursive: true });
      await writeFile(`${inTheWay}/file`, '');
      await start('c', { approval: 'per-cluster' });
      await untilOneWaits('c');
      await clusters.approve('c');
      await until('c', 'another is refused', ({ waiting }) => waiting?.kind === 'failed');
      await clusters.rollback('c', { member, reason: 'test' });
      await until('c', 'it has gone back', ({ members }) =>
        members.some((one) => one.member === member && one.stage === 'rolled-back'),
      );
      const stays = ['n1', 'n2', 'n3'].indexOf(member);
      const back = environment.sources('c').map((source, i) => (i === stays ? source : null));
      expect(await environment.primaries('c')).toEqual(back);
    },
  );

  test('one that soaks paused is finalized once it is resumed [OPS-3]', long, async () => {
    const { clusters } = environment;
    await start('d');
    await untilAllSoak('d');
    const order = { order: 'pause', by: 'test', operationId: 'pause' };
    await memberOf('d', 'n2').signal('memberOrder', order);
    await eventually('it is paused', async () => {
      const { paused } = await memberOf('d', 'n2').query<MigrationStatus>('status');
      return paused;
    });
    await clusters.complete('d');
    await until('d', 'the others are finalized', ({ members }) => {
      return members.filter(({ stage }) => stage === 'finalized').length === 2;
    });
    await clusters.resume('d');
    await until('d', 'it has ended', ({ outcome }) => outcome === 'finalized');
  });

  test(
    'a lease that a run before has left to one that soaks is given back [I14]',
    long,
    async () => {
      await start('e');
      await untilAllSoak('e');
      const lease = groupLeaseWorkflowId('e');
      await environment.temporal.workflow.signalWithStart('groupLease', {
        workflowId: lease,
        taskQueue: controlTaskQueue,
        args: [{ group: 'e' }],
        signal: 'acquireLease',
        signalArgs: [
          {
            requestId: 'earlier-run/1',
            holder: replicaWorkflowId({ cluster: 'e', member: 'n2' }),
            migrationId: 'r-e-s1',
            replica: { cluster: 'e', member: 'n2' },
            host: 'm2',
            agentId: '',
            standalone: false,
          },
        ],
      });
      await eventually('nobody holds it', async () => {
        const { holders, queue } = await workflow(lease).query<LeaseStatus>('leaseStatus');
        return holders.length + queue.length === 0;
      });
    },
  );
});

import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import {
  clusterWorkflowId,
  controlTaskQueue,
  fleetWorkflowId,
  groupLeaseWorkflowId,
  replicaWorkflowId,
} from '../../core/ids.ts';
import { eventually } from '../e2e/migration-environment.ts';
import { missing } from '../setup/toolchain.ts';
import { trackedMember } from '../../workflows/tracked-members.ts';
import type { MigrationStatus } from '../../workflows/messages.ts';
import type {
  ClusterOrder,
  ClusterStatus,
  LeaseRequest,
  MemberOrder,
} from '../../workflows/rollout-messages.ts';
import { FleetEnvironment } from './fleet-environment.ts';

const long = { timeout: 300_000 };
const holder = 'cluster/holder';

describe.skipIf(missing('temporal'))('a wish reaches what is only beginning', () => {
  const clusters = ['holder', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm'];
  let environment: FleetEnvironment;
  let holds = false;

  beforeAll(async () => {
    environment = await FleetEnvironment.create({ machines: 3, clusters });
    await environment.run();
  }, 120_000);

  afterAll(async () => environment.close());

  const start: FleetEnvironment['startCluster'] = (...of) => environment.startCluster(...of);

  const until: FleetEnvironment['untilCluster'] = (...of) => environment.untilCluster(...of);

  const outcome = async (cluster: string): Promise<string> => {
    await until(cluster, 'it has ended', (status) => status.outcome !== null);
    return (await environment.clusters.result(cluster)).outcome;
  };

  const workflow: FleetEnvironment['workflow'] = (id) => environment.workflow(id);

  /** A run of the rollout, to which `signal` comes before it has begun. */
  const startWith = async (status: ClusterStatus, signal: string, given: unknown, more = {}) => {
    const { rollout } = status;
    await environment.temporal.workflow.signalWithStart('migrateCluster', {
      workflowId: clusterWorkflowId(rollout.cluster),
      taskQueue: controlTaskQueue,
      args: [{ rollout: { kind: 'given', input: rollout }, coordinator: null, ...more }],
      memo: { rolloutId: rollout.rolloutId },
      signal,
      signalArgs: [given],
    });
  };

  const rollback: ClusterOrder = {
    order: 'rollback',
    reason: 'test',
    by: 'test',
    operationId: 'back',
  };

  /** Somebody who runs has the lease of the cluster's group. */
  const takeLease = async (group: string): Promise<() => Promise<void>> => {
    if (!holds) await start('holder', { approval: 'per-cluster' });
    holds = true;
    const request: LeaseRequest = {
      requestId: `of-${group}`,
      holder,
      migrationId: 'another',
      replica: { cluster: 'holder', member: 'n1' },
      host: 'm1',
      agentId: '',
      standalone: false,
    };
    await environment.temporal.workflow.signalWithStart('groupLease', {
      workflowId: groupLeaseWorkflowId(group),
      taskQueue: controlTaskQueue,
      args: [{ group }],
      signal: 'acquireLease',
      signalArgs: [request],
    });
    const { requestId } = request;
    return () =>
      workflow(groupLeaseWorkflowId(group)).signal('releaseLease', { holder, requestId });
  };

  const writeView = async (cluster: string, member: string, change: object) => {
    const file = environment.path('views', cluster, 'now', member);
    const before = await readFile(file, 'utf8');
    await writeFile(file, JSON.stringify({ ...JSON.parse(before), ...change }));
    return () => writeFile(file, before);
  };

  const waitsFor = (kind: string) => (status: ClusterStatus) =>
    status.members.some(({ report }) => report?.waiting?.kind === kind);

  test('a report that comes as a run hands on to the next does no harm', long, async () => {
    await start('a', { approval: 'per-cluster' });
    const status = await until('a', 'one waits for its cutover', (seen) =>
      seen.members.some(({ report: said }) => said?.proof != null),
    );
    const report = status.members.find((one) => one.report !== null)?.report;
    if (!report) throw new Error('no report');
    await workflow(clusterWorkflowId('a')).terminate('test');
    const members = status.rollout.members.map((spec) => trackedMember(spec, 'storage'));
    const passed = { paused: false, bytesPerSecond: null };
    const carried = { members, startedMs: Date.now(), coordinator: null, passed };
    await startWith(status, 'memberReport', report, { carried });
    const next = await until('a', 'it is known', ({ members: all }) =>
      all.some(({ stage }) => stage === 'moving'),
    );
    expect(next.members.find(({ stage }) => stage === 'moving')?.member).toBe(report.member);
    await workflow(clusterWorkflowId('a')).terminate('test');
    // Of a rollout that had been terminated, and is to go back as it begins again.
    await startWith(status, 'clusterOrder', rollback);
    expect(await outcome('a')).toBe('rolled-back');
    expect(await environment.primaries('a')).toEqual(
      status.members.map(({ member }) =>
        member === report.member ? environment.sources('a')[Number(member.slice(1)) - 1] : null,
      ),
    );
  });

  test('a member that waits for its lease goes back without having begun', long, async () => {
    const release = await takeLease('b');
    await start('b');
    await until('b', 'one waits for the lease', waitsFor('lease'));
    await workflow(clusterWorkflowId('b')).signal('clusterOrder', rollback);
    expect(await outcome('b')).toBe('rolled-back');
    await release();
    expect(await environment.primaries('b')).toEqual([null, null, null]);
  });

  test('a member that waits for its lease does not begin without its rollout', long, async () => {
    const release = await takeLease('i');
    await start('i');
    const { members } = await until('i', 'one waits for the lease', waitsFor('lease'));
    await environment.clusters.abandon('i', 'test');
    expect(await outcome('i')).toBe('abandoned');
    await release();
    const { member = '' } = members.find(({ stage }) => stage === 'moving') ?? {};
    const ended = workflow(replicaWorkflowId({ cluster: 'i', member })).result();
    expect(await ended).toMatchObject({ outcome: 'abandoned' });
    expect(await environment.primaries('i')).toEqual([null, null, null]);
    expect(await environment.storeOf('i', member).read()).toBe(null);
  });

  test(
    'a group is looked at anew before a member that has waited is stopped [I14] [ROLL-3]',
    long,
    async () => {
      const release = await takeLease('c');
      await start('c', { approval: 'per-cluster' });
      await until('c', 'one waits for the lease', waitsFor('lease'));
      const mend = await writeView('c', 'n1', {
        appliedIndex: '0',
        role: 'candidate',
        leader: null,
      });
      await release();
      const { members } = await until('c', 'the group is not well', ({ waiting }) => {
        return waiting?.kind === 'health';
      });
      const first = members.find(({ stage }) => stage === 'moving')?.member ?? '';
      expect((await environment.storeOf('c', first).read())?.migration ?? null).toBe(null);
      await mend();
      await until('c', 'it moves', ({ waiting }) => waiting?.kind === 'approval');
      expect((await environment.storeOf('c', first).read())?.migration?.phase).toBe('swap');
      await workflow(clusterWorkflowId('c')).signal('clusterOrder', rollback);
      expect(await outcome('c')).toBe('rolled-back');
    },
  );

  test(
    'a pause that comes while the group is looked at lets nobody begin [OPS-3]',
    long,
    async () => {
      const fifo = environment.path('views', 'd', 'now', 'n3');
      const view = await readFile(fifo, 'utf8');
      const { clusters: client } = environment;
      const release = await takeLease('d');
      await start('d');
      const { members } = await until('d', 'one waits for the lease', waitsFor('lease'));
      await client.pause('d');
      await rm(fifo);
      execFileSync('mkfifo', [fifo]);
      await release();
      const id = replicaWorkflowId({
        cluster: 'd',
        member: members.find(({ stage }) => stage === 'moving')?.member ?? '',
      });
      await eventually('it waits for its turn', async () => {
        const seen = await workflow(id).query<{ waiting: { kind: string } | null }>('status');
        return seen.waiting?.kind === 'approval';
      });
      await client.resume('d');
      // It opens once somebody reads it: the group is looked at.
      const answer = await open(fifo, 'w');
      await client.pause('d');
      await answer.writeFile(view);
      await answer.close();
      await until('d', 'it is paused', ({ waiting }) => waiting?.kind === 'paused');
      await rm(fifo);
      await writeFile(fifo, view);
      await workflow(clusterWorkflowId('d')).signal('clusterOrder', rollback);
      expect(await outcome('d')).toBe('rolled-back');
      expect(await environment.primaries('d')).toEqual([null, null, null]);
    },
  );

  test.each(['k', 'l'])(
    'a member whose turn has ended before its stop is not stopped before the next, nor without its rollout: %s [I14] [ROLL-3]',
    long,
    async (cluster) => {
      const { clusters: client } = environment;
      const release = await takeLease(cluster);
      await start(cluster, { approval: 'per-cluster' });
      const { members } = await until(cluster, 'one waits for the lease', waitsFor('lease'));
      const { member = '' } = members.find(({ stage }) => stage === 'moving') ?? {};
      await client.pause(cluster);
      await release();
      const moved = workflow(replicaWorkflowId({ cluster, member }));
      const untilWaits = (phase: string | null, kind: string) =>
        eventually(`it waits in ${phase}: ${kind}`, async () => {
          const seen = await moved.query<MigrationStatus>('status');
          return seen.phase === phase && seen.waiting?.kind === kind;
        });
      await untilWaits(null, 'approval');
      const notAfterMs = Date.now() + 10_000;
      const said = (order: MemberOrder['order'], more = {}) =>
        moved.signal('memberOrder', { order, by: 'test', operationId: order, ...more });
      await said('begin', { notAfterMs });
      // It owns its replica by now.
      await untilWaits('stop', 'paused');
      await eventually('its turn has ended', async () => Date.now() >= notAfterMs);
      await said('resume');
      await untilWaits('stop', 'approval');
      if (cluster === 'l') {
        await client.abandon(cluster, 'test');
        expect(await moved.result()).toMatchObject({ outcome: 'abandoned' });
        const { migration } = (await environment.storeOf(cluster, member).read()) ?? {};
        expect(migration?.phase).toBe('stop');
        return;
      }
      await client.resume(cluster);
      await until(cluster, 'it has moved', ({ waiting }) => waiting?.kind === 'approval');
      await workflow(clusterWorkflowId(cluster)).signal('clusterOrder', rollback);
      expect(await outcome(cluster)).toBe('rolled-back');
    },
  );

  test(
    'a second try that its machine does not know of yet is found by the next run',
    long,
    async () => {
      const { clusters: client } = environment;
      await start('j', { approval: 'per-cluster' });
      const { members } = await until('j', 'one waits for its cutover', (seen) =>
        seen.members.some(({ report }) => report?.proof != null),
      );
      const { member = '' } = members.find(({ stage }) => stage === 'moving') ?? {};
      await client.rollback('j', { member, reason: 'test' });
      await until('j', 'it has stopped', ({ waiting }) => waiting?.kind === 'stopped');
      const release = await takeLease('j');
      await client.resume('j');
      await until('j', 'it waits for the lease', waitsFor('lease'));
      await workflow(clusterWorkflowId('j')).terminate('test');
      await start('j', { approval: 'per-cluster' });
      await release();
      const seen = await until('j', 'it waits for its cutover again', ({ waiting }) => {
        return waiting?.kind === 'approval';
      });
      const found = seen.members.find((one) => one.member === member);
      expect(found?.migrationId).toBe('r-j-s2');
      await workflow(clusterWorkflowId('j')).signal('clusterOrder', rollback);
      expect(await outcome('j')).toBe('rolled-back');
    },
  );

  test('a run that takes a signal and ends without an answer is followed', long, async () => {
    // The first that is begun: n1 leads.
    const n2 = replicaWorkflowId({ cluster: 'm', member: 'n2' });
    // It answers nobody, as one that is about to end.
    const startSilent = async () => {
      const run = await environment.temporal.workflow.start('groupLease', {
        workflowId: n2,
        taskQueue: controlTaskQueue,
        args: [{ group: 'silent' }],
      });
      return async () => {
        await eventually('it has been asked', async () => {
          const { events } = await run.fetchHistory();
          return events?.some((event) => event.workflowExecutionSignaledEventAttributes != null);
        });
        await run.terminate('test');
      };
    };
    const target = environment.target('m', 'n3').slice('rocksdb://'.length);
    await mkdir(target, { recursive: true });
    await writeFile(`${target}/file`, '');
    const endAtStart = await startSilent();
    await start('m');
    await endAtStart();
    await until('m', 'it is refused', ({ waiting }) => waiting?.kind === 'failed');
    await rm(`${target}/file`);
    const endAtBegin = await startSilent();
    await environment.clusters.resume('m');
    await endAtBegin();
    await until('m', 'it moves', (seen) => seen.members.some(({ report }) => report !== null));
    await workflow(clusterWorkflowId('m')).signal('clusterOrder', rollback);
    expect(await outcome('m')).toBe('rolled-back');
  });

  test('what was refused before it began goes back, too; nothing had begun', long, async () => {
    await mkdir(environment.target('e', 'n2').slice('rocksdb://'.length), { recursive: true });
    await writeFile(`${environment.target('e', 'n2').slice('rocksdb://'.length)}/file`, '');
    await start('e');
    await until('e', 'it is refused', ({ waiting }) => waiting?.kind === 'failed');
    await workflow(clusterWorkflowId('e')).signal('clusterOrder', rollback);
    expect(await outcome('e')).toBe('rolled-back');
  });

  test('a soaking member that is unwell itself is taken back [CUT-5]', long, async () => {
    await start('f');
    await until('f', 'all soak', ({ stage, waiting }) => {
      return stage === 'soaking' && waiting?.kind === 'finalize';
    });
    const { rollout } = await until('f', 'it is there', () => true);
    const mend = await writeView('f', 'n3', { role: 'candidate' });
    await environment.clusters.rollback('f', { member: 'n3', reason: 'test' });
    await until('f', 'it has gone back', ({ members }) => {
      return members.find(({ member }) => member === 'n3')?.stage === 'rolled-back';
    });
    await mend();
    expect(rollout.cluster).toBe('f');
  });

  test(
    'what a terminated rollout has finalized is counted before anything else [OPS-6]',
    long,
    async () => {
      const files = await environment.files({
        waves: [{ clusters: 1 }, { clusters: '100%' }],
        approval: 'per-wave',
        finalize: 'per-cluster',
      });
      const begin = () =>
        environment.cli('fleet', 'start', 'gh', ...files, '--clusters', 'g', 'h', '--id', 'r');
      await begin();
      await environment.until('gh', 'the second wave waits', ({ waiting, counts }) => {
        return waiting?.kind === 'wave-approval' && counts.finalized === 1;
      });
      await environment.kill('control');
      await workflow(fleetWorkflowId('gh')).terminate('test');
      await begin();
      // It is there as the new run begins.
      const asked = environment.client.rollback('gh', 'test');
      await environment.run(['control']);
      await asked;
      expect(await environment.outcome('gh')).toBe('partly');
      expect((await environment.client.result('gh')).counts).toMatchObject({
        finalized: 1,
        begun: 1,
      });
      expect(await environment.primaries('g')).toEqual(environment.targets('g'));
    },
  );
});

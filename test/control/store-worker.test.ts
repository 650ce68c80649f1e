import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { WorkflowFailedError, type Client } from '@temporalio/client';
import { bundleWorkflowCode, Worker, type NativeConnection } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { quiet } from '../../core/log.ts';
import type { StoreActivities } from '../../activities/contract.ts';
import { verifyStore } from '../../control/audit-verification.ts';
import { openControlStore, type ControlStore } from '../../control/control-store.ts';
import { controlConfigSchema } from '../../schemas/control-config.ts';
import { createStoreWorker, type StoreWorker } from '../../worker/store-worker.ts';
import { connectClient } from '../../worker/temporal-connection.ts';
import { connectWorker } from '../../worker/worker-connection.ts';
import { eventually } from '../e2e/migration-environment.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { missing } from '../setup/toolchain.ts';
import { manyRollouts } from './open-store.ts';

describe.skipIf(missing('temporal'))('the store worker', () => {
  const taskQueue = `store-${process.pid}`;
  let root: string;
  let client: Client;
  let connection: NativeConnection;
  let store: ControlStore;
  let workers: (StoreWorker | Worker)[];
  let ended: Promise<unknown>;
  let calls = 0;

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'quorumshift-store-'));
    const target = await sharedTemporal();
    const config = controlConfigSchema.parse({
      controlDir: join(root, 'control'),
      notify: { exec: ['sh', '-c', `cat >> ${root}/notices`] },
    });
    client = await connectClient(target);
    connection = await connectWorker(target, quiet);
    const log = (line: string) => expect(line).toContain(root);
    const workflowsPath = resolve('dist/test/control/call-store.js');
    workers = [
      await createStoreWorker({ ...target, connection, config, log, taskQueue }),
      await Worker.create({
        connection,
        namespace: target.namespace,
        taskQueue: `${taskQueue}-workflows`,
        workflowBundle: await bundleWorkflowCode({ workflowsPath }),
      }),
    ];
    ended = Promise.all(workers.map((worker) => worker.run()));
    store = await openControlStore(config);
  });

  afterAll(async () => {
    for (const worker of workers) worker.shutdown();
    await ended;
    await store.close();
    await connection.close();
    await client.connection.close();
    await rm(root, { recursive: true, force: true });
  });

  function call<Name extends keyof StoreActivities>(
    name: Name,
    request: Parameters<StoreActivities[Name]>[0],
  ): Promise<Awaited<ReturnType<StoreActivities[Name]>>> {
    calls += 1;
    return client.workflow.execute('callStore', {
      workflowId: `${taskQueue}/${calls}`,
      taskQueue: `${taskQueue}-workflows`,
      args: [{ taskQueue, name, request }],
      memo: { rolloutId: 'r7' },
    }) as Promise<Awaited<ReturnType<StoreActivities[Name]>>>;
  }

  test('answers from a snapshot, and fails at once for one that it has not', async () => {
    const rollouts = manyRollouts(3);
    const snapshot = await store.snapshots.put(rollouts);
    expect(await call('readFleetPage', { snapshot, from: 1, limit: 5 })).toMatchObject({
      clusters: [{ cluster: 'c1' }, { cluster: 'c2' }],
      next: null,
      total: 3,
    });
    expect(await call('readClusterRollout', { snapshot, cluster: 'c2' })).toEqual(rollouts[2]);
    const error: unknown = await call('readClusterRollout', { snapshot, cluster: 'x' }).catch(
      (failure: unknown) => failure,
    );
    expect(error).toBeInstanceOf(WorkflowFailedError);
    expect(JSON.stringify((error as WorkflowFailedError).cause)).toContain('snapshot.unknown');
  });

  test('writes audit lines, one for an id [I18]', async () => {
    const entry = {
      id: 'fleet/f/r1/start',
      by: 'alice',
      action: 'start',
      subject: 'fleet/f',
      reason: '',
      digests: ['d'],
    };
    await call('audit', entry);
    await call('audit', entry);
    expect(await store.audit.page({ limit: 10 })).toMatchObject([{ ...entry, seq: 1 }]);
    expect(await verifyStore(store)).toMatchObject({ ok: true });
  });

  test('tells of windows, of workflows and of schedules, as the server has them', async () => {
    const windows = [{ from: '01:00', to: '02:00', timeZone: 'UTC' }];
    expect(await call('windowAt', { windows, atMs: 0 })).toEqual({
      open: false,
      opensInMs: 3_600_000,
    });
    const workflowIds = [`${taskQueue}/1`, `${taskQueue}/none`, `${taskQueue}/${calls + 1}`];
    expect(await call('describeRuns', { workflowIds })).toEqual([
      { workflowId: `${taskQueue}/1`, state: 'closed', rolloutId: 'r7' },
      { workflowId: `${taskQueue}/none`, state: 'absent', rolloutId: null },
      { workflowId: `${taskQueue}/${calls}`, state: 'running', rolloutId: 'r7' },
    ]);
    expect(await call('describeSchedule', { schedule: 'none' })).toMatchObject({ exists: false });
    const schedule = `${taskQueue}-schedule`;
    const handle = await client.schedule.create({
      scheduleId: schedule,
      spec: { intervals: [{ every: '30d' }] },
      action: { type: 'startWorkflow', workflowType: 'none', taskQueue: 'none' },
    });
    const described = await call('describeSchedule', { schedule });
    await handle.delete();
    expect(described).toMatchObject({ exists: true, missed: 0 });
    expect(described.nextAtMs).toBeGreaterThan(Date.now());
  });

  test('keeps a notice, goes on, and sends it', async () => {
    const notice = { kind: 'waiting', subject: 'fleet/f', text: 'approve wave 2' } as const;
    await call('notify', notice);
    const told = await eventually('the notice', async () => {
      const text = await readFile(join(root, 'notices'), 'utf8').catch(() => '');
      return text.endsWith('\n') && text;
    });
    expect(JSON.parse(told)).toMatchObject(notice);
  });
});

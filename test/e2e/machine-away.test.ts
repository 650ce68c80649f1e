import { Worker } from '@temporalio/worker';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { quiet } from '../../core/log.ts';
import { createControlActivities } from '../../activities/create-activities.ts';
import { hostControlTaskQueue, replicaWorkflowId } from '../../core/ids.ts';
import { agentContext } from '../../worker/agent-worker.ts';
import { readAgentConfig } from '../../worker/agent-configuration.ts';
import { connectWorker } from '../../worker/worker-connection.ts';
import { memberOrderSignal } from '../../workflows/rollout-messages.ts';
import { isLong } from '../setup/long.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { missing } from '../setup/toolchain.ts';
import { MigratingReplica } from '../soak/migrating-replica.ts';
import { eventually, MigrationEnvironment } from './migration-environment.ts';

const hourSeconds = 3600;

describe.skipIf(missing('temporal'))(
  'a migration whose machine answers late, or not at all',
  () => {
    let environment: MigrationEnvironment;

    beforeEach(async () => {
      environment = await MigrationEnvironment.create(await sharedTemporal());
      await Promise.all([environment.start('control'), environment.start('agent')]);
    });

    afterEach(() => environment.close());

    test('gives a preflight the time to read the log, and a hook that of the one before too [OPS-7]', async () => {
      const replica = await MigratingReplica.create(environment, 'limits');
      await replica.end(await replica.begin(), 'finalized');
      const handle = environment.temporal.workflow.getHandle(replicaWorkflowId(replica.replica));
      const limits = new Map<string, number>();
      for (const { activityTaskScheduledEventAttributes: scheduled } of (
        await handle.fetchHistory()
      ).events ?? []) {
        const seconds = Number(scheduled?.startToCloseTimeout?.seconds ?? 0);
        limits.set(scheduled?.activityType?.name ?? '', seconds);
      }
      expect(limits.get('preflight')).toBe(24 * hourSeconds);
      for (const hook of ['stop', 'start', 'probe', 'repoint']) {
        expect(limits.get(hook)).toBeGreaterThan(2 * hourSeconds);
      }
    });

    test('does not cut over, back after the end of the window that it was approved for', async () => {
      const { client, temporal } = environment;
      const replica = await MigratingReplica.create(environment, 'late');
      const running = await replica.begin({ approval: 'manual' });
      const untilAsking = () =>
        eventually('it waits for approval', async () => {
          const { status } = await client.status(replica.replica);
          return status?.waiting?.kind === 'approval' ? (status.view?.proof ?? null) : null;
        });
      const proof = await untilAsking();
      await environment.kill('agent');
      const handle = temporal.workflow.getHandle(replicaWorkflowId(replica.replica));
      const pending = async () => (await handle.describe()).raw.pendingActivities ?? [];
      const notAfterMs = Date.now() + 10_000;
      // As its rollout says it.
      const order = { order: 'approveCutover', proof, notAfterMs } as const;
      await handle.signal(memberOrderSignal, { ...order, by: 'test', operationId: 'granted' });
      await eventually('the cutover is asked for', async () => (await pending()).length === 1);
      await eventually('the window has ended', async () => Date.now() >= notAfterMs);
      await environment.start('agent');
      await eventually('the cutover is refused', async () => (await pending()).length === 0);
      expect(await untilAsking()).toEqual(proof);
      const { source } = running.input;
      expect((await replica.store.read())?.primary.uris).toEqual(source);
      await client.approve(replica.replica, proof);
      await replica.end(running, 'finalized');
    });

    test('finalizes where that was ordered before it was known that the replica soaks [OPS-1]', async () => {
      const { client, temporal } = environment;
      const replica = await MigratingReplica.create(environment, 'early');
      const running = await replica.begin({ finalize: 'manual' });
      await replica.untilSoaking();
      await environment.kill('agent');
      const handle = temporal.workflow.getHandle(replicaWorkflowId(replica.replica));
      await handle.terminate('test');
      await client.start(running.input);
      // As its rollout says it.
      await handle.signal(memberOrderSignal, {
        order: 'complete',
        by: 'test',
        operationId: 'early',
      });
      expect((await client.status(replica.replica)).status?.view).toBe(null);
      await environment.start('agent');
      await replica.end(running, 'finalized');
    });

    // A machine that takes no work is noticed after a minute.
    test.runIf(isLong)(
      'waits for it when it goes away just as the replica is to be adopted again [OPS-1]',
      { timeout: 180_000 },
      async () => {
        const { client, temporal } = environment;
        const replica = await MigratingReplica.create(environment, 'away');
        const running = await replica.begin({ finalize: 'manual' });
        await replica.untilSoaking();
        await environment.kill('agent');
        await client.complete(replica.replica);
        const handle = temporal.workflow.getHandle(replicaWorkflowId(replica.replica));
        const pending = async () => (await handle.describe()).raw.pendingActivities ?? [];
        await eventually('the step is asked for', async () => (await pending()).length === 1);
        await environment.kill('control');
        await raiseToken(replica);
        // The step is superseded; nobody is there yet to take that in.
        await environment.start('agent');
        await eventually('the step has failed', async () => (await pending()).length === 0);
        await environment.kill('agent');
        const steered = await controlQueueAlone();
        await environment.start('control');
        await eventually(
          'the wait',
          async () => {
            const report = await client.status(replica.replica);
            expect(report.run).toBe('running');
            return report.status?.waiting?.kind === 'host-unreachable';
          },
          90_000,
        );
        await steered();
        await environment.start('agent');
        await replica.end(running, 'finalized');
      },
    );

    /** A machine that says where it stands, and takes no work. */
    async function controlQueueAlone(): Promise<() => Promise<void>> {
      const connection = await connectWorker(
        { address: environment.address, namespace: 'default' },
        quiet,
      );
      const context = await agentContext(await readAgentConfig(environment.configFile), quiet);
      const worker = await Worker.create({
        connection,
        taskQueue: hostControlTaskQueue(environment.host),
        activities: createControlActivities(context),
      });
      const ended = worker.run();
      return async () => {
        worker.shutdown();
        await ended;
        await connection.close();
      };
    }
  },
);

/** As an attempt does that nobody knows of any more. */
async function raiseToken({ store }: MigratingReplica): Promise<void> {
  await store.locked(async ({ record, write }) => {
    if (record === null) throw new Error('the replica has a record');
    const token = { ...record.token, step: record.token.step + 100 };
    await write({ next: { ...record, token }, audit: { event: 'test', by: 'test' } });
  });
}

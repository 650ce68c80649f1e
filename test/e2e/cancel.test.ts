import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { replicaWorkflowId } from '../../core/ids.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { missing } from '../setup/toolchain.ts';
import { MigratingReplica } from '../soak/migrating-replica.ts';
import { eventually, MigrationEnvironment } from './migration-environment.ts';

describe.skipIf(missing('temporal'))('a migration whose workflow is cancelled', () => {
  let environment: MigrationEnvironment;

  beforeAll(async () => {
    environment = await MigrationEnvironment.create(await sharedTemporal());
    await Promise.all([environment.start('control'), environment.start('agent')]);
  });

  afterAll(() => environment.close());

  test('before the swap it rolls back [OPS-2]', async () => {
    const replica = await MigratingReplica.create(environment, 'cancelled-early');
    const running = await replica.begin({ approval: 'manual' });
    await untilWaiting(replica, 'approval');
    await cancel(replica);
    await replica.end(running, 'rolled-back');
  });

  test('after the swap it holds and asks; completed, it ends on the target [OPS-2]', async () => {
    const replica = await MigratingReplica.create(environment, 'cancelled-late');
    const running = await replica.begin({ finalize: 'manual' });
    await untilWaiting(replica, 'finalize');
    await cancel(replica);
    await untilWaiting(replica, 'cancelled');
    expect((await replica.store.read())?.migration?.phase).toBe('soak');
    await replica.environment.client.complete(replica.replica);
    await replica.end(running, 'finalized');
  });
});

async function untilWaiting(replica: MigratingReplica, kind: string): Promise<void> {
  await eventually(
    `the wait: ${kind}`,
    async () => {
      const { status } = await replica.environment.client.status(replica.replica);
      return status?.waiting?.kind === kind;
    },
    20_000,
  );
}

async function cancel({ environment, replica }: MigratingReplica): Promise<void> {
  await environment.temporal.workflow.getHandle(replicaWorkflowId(replica)).cancel();
}

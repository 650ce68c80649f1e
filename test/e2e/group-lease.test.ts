import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { groupLeaseWorkflowId, replicaWorkflowId, type ReplicaName } from '../../core/ids.ts';
import type { MigrationStatus } from '../../workflows/messages.ts';
import type { LeaseStatus } from '../../workflows/rollout-messages.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { isLong } from '../setup/long.ts';
import { missing } from '../setup/toolchain.ts';
import { eventually, MigrationEnvironment } from './migration-environment.ts';

let groups = 0;

describe.skipIf(missing('temporal'))('the lease of a group', () => {
  let environment: MigrationEnvironment;
  let group: string;

  beforeEach(async () => {
    groups += 1;
    group = `group-${process.pid}-${groups}`;
    environment = await MigrationEnvironment.create({
      ...(await sharedTemporal()),
      // Two groups in one process, and one beside them.
      replicas: {
        [`${group}/a`]: { process: 'server' },
        [`${group}-other/a`]: { process: 'server' },
      },
    });
    await Promise.all([environment.start('control'), environment.start('agent')]);
  });

  afterEach(async () => environment.close());

  /** Begins the migration of a member; without approval it stands before its cutover. */
  const begin = async (member: string, given: { cluster?: string; standalone?: boolean } = {}) => {
    const replica = { cluster: given.cluster ?? group, member };
    const place = `${replica.cluster}-${member}`;
    const source = await environment.unpack('node-clean', place);
    const policy = { approval: 'manual', finalize: 'manual' } as const;
    const target = environment.uri('rocksdb', `${place}-moved`);
    const input = environment.input({ source, target, replica, policy, id: 'm1' });
    const standalone = given.standalone === true ? input.standalone : null;
    await environment.client.start({ ...input, standalone });
    return { replica, input: { ...input, standalone } };
  };

  const waits = (replica: ReplicaName, kind: string): Promise<MigrationStatus> =>
    eventually(`${replica.member} waits: ${kind}`, async () => {
      const { status } = await environment.client.status(replica);
      if (status?.waiting?.kind === 'failed') throw new Error(status.waiting.reason);
      return status?.waiting?.kind === kind ? status : null;
    });

  const approve = async (replica: ReplicaName) => {
    const { view } = await waits(replica, 'approval');
    await environment.client.approve(replica, view?.proof ?? { digest: '', generation: 0 });
  };

  const lease = (of: string) => environment.temporal.workflow.getHandle(groupLeaseWorkflowId(of));

  const holders = async (of: string): Promise<string[]> => {
    const status = await lease(of).query<LeaseStatus>('leaseStatus');
    return status.holders.map(({ replica }) => replica.member);
  };

  test('a second voter of the group waits, named, until the first soaks; a rollback takes it again [I14] [ROLL-3]', async () => {
    const { client } = environment;
    const first = await begin('a');
    await waits(first.replica, 'approval');
    const second = await begin('b');
    await eventually('it is told why', async () => {
      const { waiting } = await waits(second.replica, 'lease');
      return waiting?.reason.includes(`${group}/a is being moved`);
    });
    // Nothing of it has begun: its record names no migration.
    expect((await environment.storeOf(second.replica).read())?.migration ?? null).toBe(null);
    await approve(first.replica);
    await waits(second.replica, 'approval');
    expect(await holders(group)).toEqual(['b']);
    await client.rollback(first.replica, 'test');
    await waits(first.replica, 'lease');
    await client.rollback(second.replica, 'test');
    expect(await client.result(second.replica)).toMatchObject({ outcome: 'rolled-back' });
    expect(await client.result(first.replica)).toMatchObject({ outcome: 'rolled-back' });
    expect(await holders(group)).toEqual([]);
  });

  test('of a holder whose workflow is gone its machine is asked: half way it keeps it, until it is adopted and soaks [OPS-6] [I14]', async () => {
    const { client, temporal } = environment;
    const first = await begin('a');
    await waits(first.replica, 'approval');
    await temporal.workflow.getHandle(replicaWorkflowId(first.replica)).terminate('test');
    const second = await begin('b');
    const said = await eventually('why it waits', async () => {
      const { waiting } = await waits(second.replica, 'lease');
      return waiting?.reason.includes('half way') === true ? waiting : null;
    });
    expect(said.reason).toContain(`${group}/a, whose workflow is gone, stands half way`);
    await client.start(first.input);
    await approve(first.replica);
    await waits(first.replica, 'finalize');
    await temporal.workflow.getHandle(replicaWorkflowId(first.replica)).terminate('test');
    await waits(second.replica, 'approval');
    await client.rollback(second.replica, 'test');
    await client.result(second.replica);
  });

  test('what is standalone waits for nobody, and the next for both', async () => {
    const { client } = environment;
    const first = await begin('a');
    await waits(first.replica, 'approval');
    const second = await begin('b', { standalone: true });
    await waits(second.replica, 'approval');
    expect((await holders(group)).toSorted()).toEqual(['a', 'b']);
    const third = await begin('c');
    await client.rollback(first.replica, 'test');
    await client.result(first.replica);
    await waits(third.replica, 'lease');
    await client.rollback(second.replica, 'test');
    await waits(third.replica, 'approval');
    await client.rollback(third.replica, 'test');
    await client.result(third.replica);
  });

  test('of one whose run was terminated nobody gets it before its holders can have said so [I14]', async () => {
    const { client } = environment;
    const first = await begin('a');
    await waits(first.replica, 'approval');
    const [held] = (await lease(group).query<LeaseStatus>('leaseStatus')).holders;
    await lease(group).terminate('test');
    const second = await begin('b');
    await eventually('it is told why', async () => {
      const { waiting } = await waits(second.replica, 'lease');
      return waiting?.reason.includes('was lost');
    });
    // As its migration says, some minutes later.
    await lease(group).signal('acquireLease', { ...held, isHeld: true });
    await eventually('the holder is known', async () => (await holders(group)).includes('a'));
    expect((await environment.storeOf(second.replica).read())?.migration ?? null).toBe(null);
    await client.rollback(first.replica, 'test');
    await client.result(first.replica);
    expect(await holders(group)).toEqual([]);
    await waits(second.replica, 'lease');
    await client.abandon(second.replica, 'test');
    expect(await client.result(second.replica)).toMatchObject({ outcome: 'abandoned' });
  });

  // It waits for the lease's idle minute.
  test.runIf(isLong)(
    'of one that has ended by itself the next is sure',
    { timeout: 120_000 },
    async () => {
      const { client } = environment;
      const first = await begin('a');
      await waits(first.replica, 'approval');
      await client.rollback(first.replica, 'test');
      await client.result(first.replica);
      await lease(group).result();
      const second = await begin('b');
      await waits(second.replica, 'approval');
      expect(await holders(group)).toEqual(['b']);
      await client.rollback(second.replica, 'test');
      await client.result(second.replica);
    },
  );

  test('a stopped process takes the leases of all its groups, in the order of their names [ROLL-3]', async () => {
    const { client } = environment;
    const other = `${group}-other`;
    const first = await begin('a', { cluster: other });
    await waits(first.replica, 'approval');
    expect([await holders(group), await holders(other)]).toEqual([['a'], ['a']]);
    const second = await begin('a');
    await waits(second.replica, 'lease');
    const third = await begin('b');
    await waits(third.replica, 'lease');
    await client.abandon(third.replica, 'test');
    expect(await client.result(third.replica)).toMatchObject({ outcome: 'abandoned' });
    await client.rollback(first.replica, 'test');
    await waits(second.replica, 'approval');
    expect([await holders(group), await holders(other)]).toEqual([['a'], ['a']]);
    await client.rollback(second.replica, 'test');
    await client.result(second.replica);
  });
});

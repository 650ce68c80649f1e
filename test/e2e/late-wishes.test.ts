import { rename } from 'node:fs/promises';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { errorRegistry } from '../../core/error-registry.ts';
import { replicaWorkflowId } from '../../core/ids.ts';
import { readJournal } from '../../storage/binding/journal.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { missing } from '../setup/toolchain.ts';
import { holdPhase } from '../soak/hold-phase.ts';
import { MigratingReplica } from '../soak/migrating-replica.ts';
import { eventually, MigrationEnvironment } from './migration-environment.ts';
import { runCli } from './run-cli.ts';

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

describe.skipIf(missing('temporal'))('a rollback that is asked for', () => {
  let environment: MigrationEnvironment;

  beforeAll(async () => {
    environment = await MigrationEnvironment.create(await sharedTemporal());
    await Promise.all([environment.start('control'), environment.start('agent')]);
  });

  afterAll(() => environment.close());

  test('while finalize runs is refused, and finalize ends; who asked for it is on record [CUT-8] [OPS-4]', async () => {
    const replica = await MigratingReplica.create(environment, 'asked-late');
    const { client } = environment;
    const running = await replica.begin({ finalize: 'manual' });
    await untilWaiting(replica, 'finalize');
    await client.complete(replica.replica);
    const { migrationId } = running.input;
    const hold = await holdPhase(replica.store, { migrationId, phase: 'finalize' });
    await expect(client.rollback(replica.replica, 'too late')).rejects.toMatchObject({
      code: 'migration.illegal-action',
    });
    await hold?.release();
    await replica.end(running, 'finalized');
    const journal = await readJournal(replica.store.files, replica.store.directory.journal);
    expect(journal.filter(({ decision }) => decision !== undefined)).toEqual([
      expect.objectContaining({ event: 'begin', step: 'finalize', decision: { by: 'test' } }),
    ]);
  });

  test('after a finalize that found no target is taken: the way back had stayed open [CUT-6] [CUT-8]', async () => {
    const replica = await MigratingReplica.create(environment, 'target-away');
    const { client } = environment;
    const running = await replica.begin({ finalize: 'manual' });
    await untilWaiting(replica, 'finalize');
    const path = new URL(running.input.target.log).pathname;
    await rename(path, `${path}-away`);
    await client.complete(replica.replica);
    await untilWaiting(replica, 'failed');
    const { status } = await client.status(replica.replica);
    expect(status?.phase).toBe('soak');
    expect(status?.actions).toContain('rollback');
    await rename(`${path}-away`, path);
    await client.rollback(replica.replica, 'the disk was loose');
    await replica.end(running, 'rolled-back');
  });
});

describe.skipIf(missing('temporal'))('a rollback that is given up', () => {
  let environment: MigrationEnvironment;

  beforeAll(async () => {
    environment = await MigrationEnvironment.create(await sharedTemporal());
    await Promise.all([environment.start('control'), environment.start('agent')]);
  });

  afterAll(() => environment.close());

  test('while it copies back soaks on the target again, and ends there [CUT-5] [CUT-6]', async () => {
    const { client } = environment;
    const replica = await MigratingReplica.create(environment, 'given-up');
    const running = await replica.begin({ finalize: 'manual' });
    await replica.untilSoaking();
    const early = await runCli(environment, ['rollback', '--cancel', replica.name]);
    expect(early).toMatchObject({ code: errorRegistry['migration.illegal-action'].exitCode });
    const written = await replica.writeOnTarget(running);
    await replica.rollBack();
    const { migrationId } = running.input;
    const wanted = { migrationId, phase: 'copy', direction: 'back' } as const;
    const hold = await holdPhase(replica.store, wanted);
    const given = await eventually('the reversal is seen', async () => {
      const answer = await runCli(environment, ['rollback', '--cancel', replica.name]);
      return answer.code === 0 && answer;
    });
    expect(given).toMatchObject({ stdout: 'accepted\n', stderr: '' });
    await hold?.release();
    await replica.untilSoaking();
    expect(await environment.digest(running.target)).toMatchObject({ root: written.digest });
    const { status } = await client.status(replica.replica);
    expect(status?.actions).toEqual(expect.arrayContaining(['rollback', 'complete']));
    await client.complete(replica.replica);
    await replica.end(written, 'finalized');
  });

  test('does not end the soak that begins anew by what was said of the one before [CUT-6]', async () => {
    const { client } = environment;
    const replica = await MigratingReplica.create(environment, 'completed-before');
    const running = await replica.begin({ finalize: 'manual' });
    await replica.untilSoaking();
    const written = await replica.writeOnTarget(running);
    await client.pause(replica.replica);
    await client.complete(replica.replica);
    await replica.rollBack();
    const { migrationId } = running.input;
    const wanted = { migrationId, phase: 'copy', direction: 'back' } as const;
    await client.resume(replica.replica);
    const hold = await holdPhase(replica.store, wanted);
    await eventually('the reversal is seen', () =>
      client.cancelRollback(replica.replica, 'a test').then(
        () => true,
        () => false,
      ),
    );
    await hold?.release();
    await untilWaiting(replica, 'finalize');
    expect((await replica.store.read())?.migration?.phase).toBe('soak');
    await client.complete(replica.replica);
    await replica.end(written, 'finalized');
  });
});

async function untilWaiting(replica: MigratingReplica, kind: string): Promise<void> {
  await eventually(`the wait: ${kind}`, async () => {
    const { status } = await replica.environment.client.status(replica.replica);
    return status?.waiting?.kind === kind;
  });
}

async function cancel({ environment, replica }: MigratingReplica): Promise<void> {
  await environment.temporal.workflow.getHandle(replicaWorkflowId(replica)).cancel();
}

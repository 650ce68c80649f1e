import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { errorRegistry } from '../../core/error-registry.ts';
import { phases, type Phase } from '../../core/phases.ts';
import { replicaWorkflowId } from '../../core/ids.ts';
import { readControl } from '../../storage/binding/control-file.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { isLong } from '../setup/long.ts';
import { missing } from '../setup/toolchain.ts';
import type { KillableFleet } from '../soak/killable-fleet.ts';
import { MigratingReplica } from '../soak/migrating-replica.ts';
import {
  endSubject,
  holdSubjects,
  startSubjects,
  type HeldSubject,
  type PhaseSubject,
} from '../soak/phase-subjects.ts';
import { eventually, MigrationEnvironment } from './migration-environment.ts';
import { runCli } from './run-cli.ts';

/** Command lines at once: each takes most of a core for a second. */
const commandsAtOnce = 3;

describe.skipIf(missing('temporal'))('a migration whose workflow is gone', () => {
  let fleet: KillableFleet;
  let subjects: readonly PhaseSubject[];

  beforeAll(async () => {
    ({ fleet, subjects } = await startSubjects(process.env['QUORUMSHIFT_TEMPORAL_BIN'] ?? '', [
      'forward',
      'rollback',
    ]));
  });

  afterAll(() => fleet?.close());

  test(
    'terminated in each phase, forward and back: resume --from-record adopts it, and it ends as without [OPS-6]',
    { timeout: 300_000 },
    async () => {
      const held = await holdSubjects(subjects);
      for (const { subject } of held) {
        const { environment, replica } = subject.replica;
        await environment.temporal.workflow.getHandle(replicaWorkflowId(replica)).terminate();
      }
      await inTurns(held, adopt);
      await Promise.all(held.map(endSubject));
    },
  );

  test(
    'with the database lost in many phases (in each by QUORUMSHIFT_LONG=1): status --local tells where it stands, and resume --from-record adopts it [OPS-6]',
    { timeout: 300_000 },
    async () => {
      const shown: readonly Phase[] = ['copy', 'admit', 'rollback-digest'];
      const lost = subjects.filter(
        ({ phase }, i) => isLong || i % 3 === 0 || shown.includes(phase),
      );
      const held = await holdSubjects(lost);
      await fleet.kill('server');
      // It has left attempts that the emptied server knows nothing of.
      await fleet.kill(fleet.machine(0));
      await inTurns(
        held.filter(({ subject }) => shown.includes(subject.phase)),
        showLocalStatus,
      );
      await fleet.restart('server', { emptied: true });
      await fleet.restart(fleet.machine(0));
      await inTurns(held, adopt);
      await Promise.all(held.map(endSubject));
    },
  );

  test('status --local of a replica without a record says so, and what to check', async () => {
    const answer = await runCli(fleet.machine(0), ['status', '--local', 'nobody/here']);
    expect(answer.code).toBe(errorRegistry['record.missing'].exitCode);
    expect(answer.stderr).toContain('record.missing');
    expect(answer.stderr).toContain(errorRegistry['record.missing'].remedy);
  });

  test('a replica that no migration owns cannot be resumed from its record', async () => {
    const replica = await MigratingReplica.create(fleet.machine(0), 'idle');
    await replica.end(await replica.begin(), 'finalized');
    const answer = await runCli(fleet.machine(0), ['resume', replica.name, '--from-record']);
    expect(answer.code).toBe(errorRegistry['migration.illegal-action'].exitCode);
    expect(answer.stderr).toContain('migration.illegal-action');
    const status = await runCli(fleet.machine(0), ['status', '--local', replica.name]);
    expect(status.code).toBe(0);
    expect(status.stdout).toContain('no migration owns it');
  });
});

describe.skipIf(missing('temporal'))(
  'a migration that an operator had paused and throttled',
  () => {
    let environment: MigrationEnvironment;

    beforeAll(async () => {
      environment = await MigrationEnvironment.create(await sharedTemporal());
      await Promise.all([environment.start('control'), environment.start('agent')]);
    });

    afterAll(() => environment.close());

    test('is adopted as it was left, and goes on only when it is resumed [OPS-3] [OPS-6]', async () => {
      const { replica, running } = await terminatedWhilePaused('left-paused');
      const adopted = await runCli(environment, ['resume', replica.name, '--from-record']);
      expect(adopted).toMatchObject({ code: 0, stderr: '' });
      expect(adopted.stdout).toContain(`it stands paused: "quorumshift resume ${replica.name}"`);
      const status = await eventually('the adopted run waits', async () => {
        const now = (await environment.client.status(replica.replica)).status;
        return now?.waiting?.kind === 'paused' && now;
      });
      expect(status).toMatchObject({ paused: true, bytesPerSecond: 123_456_789, phase: 'swap' });
      expect(await readControl(nodeFileLayer, replica.store.directory)).toMatchObject({
        paused: true,
        bytesPerSecond: 123_456_789,
      });
      await environment.client.approve(replica.replica, status.view?.proof ?? noProof);
      await environment.client.resume(replica.replica);
      await replica.end(running, 'finalized');
    });

    test('is adopted straight into the decision to go back: rollback --from-record [OPS-6] [CUT-5]', async () => {
      const { replica, running } = await terminatedWhilePaused('left-to-go-back');
      const adopted = await runCli(environment, ['rollback', replica.name, '--from-record']);
      expect(adopted).toMatchObject({ code: 0, stderr: '' });
      expect(adopted.stdout).toContain('in phase swap: it goes back');
      await eventually(
        'the decision',
        async () => (await replica.store.read())?.migration?.rollback?.reason === 'operator',
      );
      const again = await runCli(environment, ['rollback', replica.name, '--from-record']);
      expect(again).toMatchObject({ code: 0, stderr: '' });
      expect(again.stdout).toContain('it was going back already');
      await environment.client.resume(replica.replica);
      await replica.end(running, 'rolled-back');
      const { results } = (await environment.client.status(replica.replica)).status ?? {};
      expect(results?.map(({ did }) => did)).not.toContain('repoint');
    });

    test('answers a rollback with what keeps it from going back [OPS-3]', async () => {
      const replica = await MigratingReplica.create(environment, 'asked-while-paused');
      const running = await replica.begin({ approval: 'manual' });
      await eventually('the wait', () => waitsFor(replica, 'approval'));
      await environment.client.pause(replica.replica);
      const answer = await runCli(environment, ['rollback', replica.name]);
      expect(answer).toMatchObject({ code: 0, stderr: '' });
      expect(answer.stdout).toContain(`"quorumshift resume ${replica.name}" lets it go on`);
      await environment.client.resume(replica.replica);
      await replica.end(running, 'rolled-back');
    });

    async function terminatedWhilePaused(member: string) {
      const { client, temporal } = environment;
      const replica = await MigratingReplica.create(environment, member);
      const running = await replica.begin({ approval: 'manual' });
      await eventually('the wait', () => waitsFor(replica, 'approval'));
      await client.throttle(replica.replica, 123_456_789);
      await client.pause(replica.replica);
      await eventually('the wishes on the machine', async () => {
        const { paused, bytesPerSecond } = await readControl(
          nodeFileLayer,
          replica.store.directory,
        );
        return paused && bytesPerSecond === 123_456_789;
      });
      await temporal.workflow.getHandle(replicaWorkflowId(replica.replica)).terminate();
      return { replica, running };
    }
  },
);

const noProof = { digest: '', generation: 0 };

async function waitsFor(replica: MigratingReplica, kind: string): Promise<boolean> {
  const { status } = await replica.environment.client.status(replica.replica);
  return status?.waiting?.kind === kind;
}

/** The command reads the phase that the record is held in; then whoever waits may go on. */
async function adopt({ subject, running, hold }: HeldSubject): Promise<void> {
  const { environment, name } = subject.replica;
  const answer = await runCli(environment, ['resume', name, '--from-record']);
  expect(answer).toMatchObject({ code: 0, stderr: '' });
  const { migrationId } = running.input;
  expect(answer.stdout).toBe(`adopted migration ${migrationId} in phase ${subject.phase}\n`);
  await hold.release();
}

async function showLocalStatus({ subject }: HeldSubject): Promise<void> {
  const { environment, name } = subject.replica;
  const answer = await runCli(environment, ['status', '--local', name]);
  expect(answer).toMatchObject({ code: 0, stderr: '' });
  expect(answer.stdout).toContain(`phase    ${subject.phase}: ${phases[subject.phase].says}`);
  expect(answer.stdout).toContain(`resume ${name} --from-record`);
  const json = await runCli(environment, ['status', '--local', name, '-o', 'json']);
  expect(JSON.parse(json.stdout)).toMatchObject({ migration: { phase: subject.phase } });
}

async function inTurns<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  const takeTurns = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: commandsAtOnce }, takeTurns));
}

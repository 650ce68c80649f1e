import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { clusterWorkflowId, groupLeaseWorkflowId, replicaWorkflowId } from '../../core/ids.ts';
import { migrationInputSchema, type MigrationInput } from '../../schemas/migration.ts';
import { eventually } from '../e2e/migration-environment.ts';
import { missing } from '../setup/toolchain.ts';
import {
  dayMs,
  dayOf,
  hourMs,
  nightOf,
  rolloutOf,
  SkippedTime,
  slackMs,
  timesOf,
} from './skipped-time.ts';

const quiet = { probeEverySeconds: null, validateEverySeconds: null };

describe.skipIf(missing('time-skipping'))('days of a cluster', { timeout: 120_000 }, () => {
  let time: SkippedTime;

  beforeAll(async () => {
    time = await SkippedTime.start(['soaks', 'waits', 'late', 'detached', 'leased']);
  }, 240_000);

  afterAll(async () => time.close());

  const eventsOf = (cluster: string, member: string) =>
    time.happenings(replicaWorkflowId({ cluster, member }));

  const inputOf = (
    cluster: string,
    member: string,
    policy: Partial<MigrationInput['policy']>,
    standalone = true,
  ): MigrationInput => {
    const { members: all, contractVersion } = rolloutOf(cluster, {});
    const spec = all.find((one) => one.member === member);
    return migrationInputSchema.parse({
      contractVersion,
      migrationId: 'm1',
      replica: { cluster, member },
      host: spec?.host,
      source: spec?.source,
      target: spec?.target,
      policy,
      standalone: standalone ? { by: 'test', note: '' } : null,
      requestedBy: 'test',
    });
  };

  test('a replica that soaks for ten days is probed each six hours, and finalized to the second', async () => {
    const soakSeconds = (10 * dayMs) / 1000;
    const probeEverySeconds = (6 * hourMs) / 1000;
    const policy = { soakSeconds, probeEverySeconds, finalize: 'auto' } as const;
    const input = inputOf('soaks', 'n0', policy);
    await time.migrations.start(input);
    expect(await time.migrations.result(input.replica)).toMatchObject({ outcome: 'finalized' });
    const events = await eventsOf('soaks', 'n0');
    const [soaksMs = 0] = timesOf(events, 'probe');
    const probes = timesOf(events, 'checkSoak');
    expect(probes.length).toBeGreaterThanOrEqual(39);
    for (const [i, atMs] of probes.entries()) {
      expect(Math.abs(atMs - soaksMs - (i + 1) * 6 * hourMs)).toBeLessThan(slackMs);
    }
    const [finalMs = 0] = timesOf(events, 'finalize');
    expect(finalMs - soaksMs).toBeGreaterThanOrEqual(10 * dayMs);
    expect(finalMs - soaksMs - 10 * dayMs).toBeLessThan(slackMs);
  });

  test('a rollout whose window opens days later begins as it opens, and is finalized once all have soaked', async () => {
    const opensMs = dayOf(await time.nowMs()) + 3 * dayMs + 2 * hourMs;
    const rollout = rolloutOf('waits', {
      windows: [nightOf(opensMs)],
      soakSeconds: (2 * dayMs) / 1000,
      finalize: 'per-cluster',
      replica: quiet,
    });
    await time.clusters.start(rollout);
    expect(await time.clusters.result('waits')).toMatchObject({ outcome: 'finalized' });
    const cluster = await time.happenings(clusterWorkflowId('waits'));
    // Every six hours at most, and once for each thing that may be done in it.
    expect(timesOf(cluster, 'windowAt').length).toBeLessThan(30);
    const events = await time.ofMembers('waits');
    const stops = timesOf(events, 'stop');
    const finals = timesOf(events, 'finalize');
    const lastSoakMs = Math.max(...timesOf(events, 'probe'));
    expect([stops.length, finals.length]).toEqual([3, 3]);
    expect(Math.min(...stops) - opensMs).toBeGreaterThanOrEqual(0);
    expect(Math.min(...stops) - opensMs).toBeLessThan(slackMs);
    expect(Math.max(...stops) - opensMs).toBeLessThan(180_000);
    // The whole cluster at once, when the last one has soaked.
    for (const atMs of finals) {
      expect(atMs - lastSoakMs).toBeGreaterThanOrEqual(2 * dayMs);
      expect(atMs - lastSoakMs - 2 * dayMs).toBeLessThan(slackMs);
    }
  });

  test('at its deadline what is not cut over goes back, and nothing else begins', async () => {
    const deadlineSeconds = (8 * hourMs) / 1000;
    const policy = { deadlineSeconds, approval: 'per-cluster', replica: quiet };
    await time.clusters.start(rolloutOf('late', policy));
    const { outcome, members: ended } = await time.clusters.result('late');
    expect(outcome).toBe('rolled-back');
    expect(Object.values(ended).every((stage) => stage === 'skipped')).toBe(true);
    const cluster = await time.happenings(clusterWorkflowId('late'));
    const [startMs = 0] = timesOf(cluster, 'run');
    const [endMs = 0] = timesOf(cluster, 'end');
    const turned = timesOf(await time.ofMembers('late'), 'decideRollback');
    expect(turned).toHaveLength(1);
    for (const atMs of [...turned, endMs]) {
      expect(atMs - startMs).toBeGreaterThanOrEqual(8 * hourMs);
      expect(atMs - startMs - 8 * hourMs).toBeLessThan(slackMs);
    }
  });

  test('as its window ends a member that waits for approval goes back, and waits for the next one', async () => {
    const opensMs = dayOf(await time.nowMs()) + dayMs + 2 * hourMs;
    const rollout = rolloutOf('detached', {
      windows: [{ from: '02:00', to: '04:00' }],
      atWindowEnd: 'detach',
      approval: 'per-cluster',
      deadlineSeconds: Math.ceil((opensMs + 12 * hourMs - (await time.nowMs())) / 1000),
      replica: quiet,
    });
    await time.clusters.start(rollout);
    expect(await time.clusters.result('detached')).toMatchObject({ outcome: 'rolled-back' });
    const events = await time.ofMembers('detached');
    const hours = (what: string) => timesOf(events, what).map((atMs) => (atMs - opensMs) / hourMs);
    const begun = hours('stop');
    const turned = hours('decideRollback');
    expect(begun.map(Math.floor)).toEqual([0]);
    // At four o'clock.
    expect(turned.map(Math.floor)).toEqual([2]);
    const slackHours = slackMs / hourMs;
    for (const at of [...begun, ...turned]) expect(at - Math.floor(at)).toBeLessThan(slackHours);
  });

  test('a lease whose workflow was terminated is given to nobody new for half an hour', async () => {
    const { migrations, temporal } = time;
    const waits = (member: string, kind: string) =>
      eventually(`${member} waits: ${kind}`, async () => {
        const { status } = await migrations.status({ cluster: 'leased', member });
        return status?.waiting?.kind === kind ? status : null;
      });
    const held = { approval: 'manual', finalize: 'auto' } as const;
    const first = inputOf('leased', 'n1', held, false);
    await migrations.start(first);
    const { view } = await waits('n1', 'approval');
    const second = inputOf('leased', 'n2', { finalize: 'auto' }, false);
    await migrations.start(second);
    await waits('n2', 'lease');
    const lease = groupLeaseWorkflowId('leased');
    await temporal.workflow.getHandle(lease).terminate('test');
    // Its holder says that it holds it within a quarter of an hour, and so it is known again.
    await time.skip(20 * 60_000);
    await migrations.approve(first.replica, view?.proof ?? { digest: '', generation: 0 });
    expect(await migrations.result(first.replica)).toMatchObject({ outcome: 'finalized' });
    expect(await migrations.result(second.replica)).toMatchObject({ outcome: 'finalized' });
    const [begunMs = 0] = timesOf(await time.happenings(lease), 'run');
    const [ownMs = 0] = timesOf(await eventsOf('leased', 'n2'), 'own');
    expect(ownMs - begunMs).toBeGreaterThanOrEqual(hourMs / 2);
    expect(ownMs - begunMs - hourMs / 2).toBeLessThan(slackMs);
  });
});

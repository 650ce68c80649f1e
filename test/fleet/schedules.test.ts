import { readFile } from 'node:fs/promises';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { ScheduleClient, type ScheduleReport } from '../../client/schedule-client.ts';
import { openControlStore } from '../../control/control-store.ts';
import { scheduleId } from '../../core/ids.ts';
import { eventually } from '../e2e/migration-environment.ts';
import { isLong } from '../setup/long.ts';
import { missing } from '../setup/toolchain.ts';
import { FleetEnvironment } from './fleet-environment.ts';

const long = { timeout: 400_000 };

/** Never, as far as a test is concerned. */
const yearly = ['--cron', '0 4 29 feb *'];

describe.skipIf(missing('temporal'))('a fleet is rolled out on a schedule', () => {
  let environment: FleetEnvironment;
  let schedules: ScheduleClient;

  beforeAll(async () => {
    environment = await FleetEnvironment.create({ machines: 3, clusters: ['a', 'b', 'c'] });
    schedules = new ScheduleClient({ client: environment.temporal });
    await environment.run();
  }, 120_000);

  afterAll(async () => environment.close());

  async function create(name: string, ...args: readonly string[]): Promise<ScheduleReport> {
    const files = await environment.files({ finalize: 'per-cluster', soakSeconds: 0 });
    const shown = await environment.cli(
      'schedule',
      'create',
      name,
      ...files,
      ...args,
      '-o',
      'json',
    );
    return JSON.parse(shown) as ScheduleReport;
  }

  const runsOf = async (name: string) => (await schedules.describe(name)).recent;

  test('once, at a set time: the rollout is called after that time', long, async () => {
    const at = new Date(Math.ceil(Date.now() / 1000) * 1000 + 30_000).toISOString();
    const made = await create('once', '--fleet', 'one', '--clusters', 'a', '--at', at);
    expect(made).toMatchObject({ when: { at }, next: [at], missed: 0 });
    await eventually('its run has begun', async () => (await runsOf('once')).length > 0);
    expect(await environment.outcome('one')).toBe('finalized');
    const { rolloutId } = await environment.client.status('one');
    expect(rolloutId).toBe(`s${at.replace(/\.\d+/, '').replaceAll(/[-:]/g, '')}`);
    expect(await schedules.describe('once')).toMatchObject({ next: [], recent: [{ rolloutId }] });
    expect(await environment.primaries('a')).toEqual(environment.targets('a'));
  });

  test(
    'a run that is due while the fleet is rolled out is left out, and told of; paused, it says why',
    long,
    async () => {
      const { client } = environment;
      await create('often', '--fleet', 'two', '--clusters', 'b', ...yearly, '--note', 'a drill');
      await schedules.trigger('often');
      await environment.until('two', 'it is rolled out', ({ counts }) => counts.moving === 1);
      await client.stop('two', 'held for the next run');
      await schedules.trigger('often');
      await eventually('the second run is skipped', async () => {
        // On a busy machine the server may not answer in time.
        const seen = await schedules.describe('often').catch(() => null);
        return seen?.skipped === 1;
      });
      await client.resume('two');
      expect(await environment.outcome('two')).toBe('finalized');
      await schedules.pause('often', 'a freeze');
      const paused = await environment.cli('schedule', 'show', 'often');
      expect(paused).toMatch(/paused/);
      expect(paused).toMatch(/a freeze/);
      expect(await environment.cli('schedule', 'list')).toMatch(/often\s+two\s+paused/);
      await schedules.resume('often', '');
      await schedules.delete('often');
      const again = schedules.describe('often');
      await expect(again).rejects.toMatchObject({ code: 'schedule.not-found' });
    },
  );

  test('a rollout that somebody else has started makes a run leave it alone', long, async () => {
    const { client } = environment;
    const given = await create('beside', '--fleet', 'three', '--clusters', 'c', ...yearly);
    const store = await openControlStore(environment);
    const { policy } = await store.snapshots.info(given.snapshot);
    await store.close();
    const { snapshot } = given;
    const byHand = { fleet: 'three', rolloutId: 'by-hand', snapshot, policy, requestedBy: 'test' };
    await client.start(byHand);
    await client.pause('three');
    await schedules.trigger('beside');
    await eventually('it is told of', async () => {
      const notices = await readFile(environment.path('notices'), 'utf8').catch(() => '');
      return /left out: rollout by-hand of fleet three is under way/.test(notices);
    });
    await client.resume('three');
    expect(await environment.outcome('three')).toBe('finalized');
  });

  test('one under our names that we did not make is none of ours', async () => {
    const handle = await environment.temporal.schedule.create({
      scheduleId: scheduleId('foreign'),
      spec: { cronExpressions: ['0 4 29 feb *'] },
      action: { type: 'startWorkflow', workflowType: 'other', taskQueue: 'nobody' },
    });
    await expect(schedules.describe('foreign')).rejects.toMatchObject({
      code: 'schedule.not-found',
    });
    const listed = await schedules.list({ limit: 100 });
    expect(listed.map(({ schedule }) => schedule)).not.toContain('foreign');
    await handle.delete();
  });

  test('what is no time, and a name that is taken, are refused by name', async () => {
    const wrong = create('wrong', '--fleet', 'one', '--cron', '61 0 * * *');
    await expect(wrong).rejects.toThrow(/times of schedule wrong are refused/);
    await create('taken', '--fleet', 'one', ...yearly);
    await expect(create('taken', '--fleet', 'one', ...yearly)).rejects.toThrow(/schedule\.exists/);
    await expect(create('never', '--fleet', 'one')).rejects.toThrow(/--cron, --every or --at/);
  });

  test.runIf(isLong)(
    'a run that was due while the server was away is missed, and told of',
    long,
    async () => {
      const at = new Date(Math.ceil(Date.now() / 1000) * 1000 + 5_000).toISOString();
      await create('missed', '--fleet', 'four', '--clusters', 'a', '--at', at);
      await environment.killAll();
      const lateMs = Date.parse(at) + 65_000 - Date.now();
      // The catch-up window of a minute has to pass while nothing runs: nothing can be looked at.
      await new Promise((done) => setTimeout(done, lateMs));
      await environment.restartAll();
      await eventually(
        'the missed run is told of',
        async () => {
          const notices = await readFile(environment.path('notices'), 'utf8').catch(() => '');
          return /1 runs of schedule missed were missed/.test(notices);
        },
        180_000,
      );
      expect(await schedules.describe('missed')).toMatchObject({ missed: 1, recent: [] });
    },
  );
});

import { readFile } from 'node:fs/promises';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { openControlStore } from '../../control/control-store.ts';
import { clusterWorkflowId, fleetWorkflowId } from '../../core/ids.ts';
import { isLong } from '../setup/long.ts';
import { missing } from '../setup/toolchain.ts';
import { eventually } from '../e2e/migration-environment.ts';
import { FleetEnvironment } from './fleet-environment.ts';

/** Of a loaded machine; alone it takes a minute. */
const long = { timeout: 600_000 };

const minuteMs = 60_000;

/** Of a loaded machine, to end what is due. */
const slackMs = 60_000;

/** Twenty by QUORUMSHIFT_LONG=1: they take two minutes. */
const most = isLong ? 20 : 6;

function named(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`);
}

describe.skipIf(missing('temporal'))('a fleet of clusters migrates by a workflow', () => {
  const first = named('a', most);
  const second = named('b', 4);
  const third = named('c', 3);
  const inTwoSteps = named('d', 3);
  const nightly = named('e', 3);
  let environment: FleetEnvironment;
  /** The window that the fleet `night` waits for, while the other tests run. */
  let opensMs = 0;
  let deadlineMs = 0;

  beforeAll(async () => {
    const clusters = [...first, ...second, ...third, ...inTwoSteps, ...nightly];
    const withPrograms = inTwoSteps;
    environment = await FleetEnvironment.create({ machines: 4, clusters, withPrograms });
    await environment.run();
    await startNight();
  }, 240_000);

  /** Its second cluster is not well, and stays so. */
  async function startNight(): Promise<void> {
    const [, unwell = ''] = nightly;
    await environment.changeViews(unwell, { changePending: true });
    const nowMs = Date.now();
    // Not before it has been seen to wait.
    opensMs = Math.ceil((nowMs + 30_000) / minuteMs) * minuteMs;
    const deadlineSeconds = Math.round((opensMs - nowMs) / 1000) + 75;
    const timeOf = (atMs: number) => new Date(atMs).toISOString().slice(11, 16);
    const files = await environment.files({
      windows: [{ from: timeOf(opensMs), to: timeOf(opensMs + 60 * minuteMs) }],
      waves: [{ clusters: '100%' }],
      concurrency: { clusters: 1 },
      finalize: 'per-cluster',
      deadlineSeconds,
    });
    const only = ['--clusters', ...nightly, '--id', 'r4'];
    await environment.cli('fleet', 'start', 'night', ...files, ...only);
    const { startedMs } = await environment.until('night', 'it waits', ({ waiting }) => {
      return waiting?.kind === 'window';
    });
    deadlineMs = startedMs + deadlineSeconds * 1000;
  }

  afterAll(async () => environment.close());

  test(
    'its canary fails and the budget stops it; mended it goes on; everything is killed at once; it ends [ROLL-6] [OPS-1] [I13] [I18]',
    long,
    async () => {
      const { client } = environment;
      const [canary = ''] = first;
      await environment.breakProbe(canary);
      const files = await environment.files({
        waves: [{ name: 'canary', clusters: 1 }, { clusters: '20%' }, { clusters: '100%' }],
        concurrency: { clusters: 3, perMachine: 3 },
        finalize: 'per-cluster',
      });
      const only = ['--clusters', ...first];
      const planned = await environment.cli('fleet', 'plan', 'prod', ...files, ...only);
      expect(planned).toContain('canary');
      await environment.cli('fleet', 'start', 'prod', ...files, ...only, '--id', 'r1');
      const stopped = await environment.until('prod', 'the budget stops it', ({ waiting }) => {
        return waiting?.kind === 'budget';
      });
      expect(stopped.counts).toMatchObject({ total: most, begun: 1, failed: 1, finalized: 0 });
      const text = await environment.cli('fleet', 'status', 'prod');
      expect(text).toContain(canary);
      expect(text).toContain(`budget: 1 of ${most} clusters failed`);

      await environment.mend(canary);
      await client.resume('prod');
      await environment.until('prod', 'a third is done', ({ counts }) => counts.finalized >= 3);
      await environment.killAll();
      await environment.restartAll();
      expect(await environment.outcome('prod')).toBe('finalized');
      for (const cluster of first) {
        expect(await environment.primaries(cluster)).toEqual(environment.targets(cluster));
        expect(await environment.lastIndexes(cluster)).toEqual([10n, 10n, 10n]);
      }
      const store = await openControlStore(environment);
      try {
        const ofFleet = { fleet: 'prod', rolloutId: 'r1', clusters: first };
        const results = await store.rollouts.results(ofFleet);
        expect(results.map(({ outcome }) => outcome)).toEqual(first.map(() => 'finalized'));
      } finally {
        await store.close();
      }
      // Sent by the store's sender, some time after the workflow has put them down.
      const notices = await eventually('the end is told of', async () => {
        const text = await readFile(environment.path('notices'), 'utf8');
        return /has ended: finalized/.test(text) ? text : null;
      });
      expect(notices).toMatch(new RegExp(`${canary} failed`));
    },
  );

  test(
    'waves wait for approval; the workflow is terminated and started again: it goes on with what has soaked; then all is rolled back, the latest first [ROLL-6] [OPS-6]',
    long,
    async () => {
      const { client, temporal } = environment;
      const files = await environment.files({
        waves: [{ clusters: 2 }, { clusters: '100%' }],
        approval: 'per-wave',
        finalize: 'manual',
      });
      const start = () =>
        environment.cli('fleet', 'start', 'two', ...files, '--clusters', ...second, '--id', 'r2');
      await start();
      const asks = await environment.until('two', 'the second wave waits', ({ waiting }) => {
        return waiting?.kind === 'wave-approval';
      });
      expect(asks.counts).toMatchObject({ begun: 2, soaking: 2 });
      await temporal.workflow.getHandle(fleetWorkflowId('two')).terminate('a drill');
      await start();
      await environment.until('two', 'the first wave is known again', ({ waiting, counts }) => {
        return waiting?.kind === 'wave-approval' && counts.soaking === 2;
      });
      await client.approve('two');
      await environment.until('two', 'all soak', ({ waiting }) => waiting?.kind === 'finalize');
      for (const cluster of second) {
        const primaries = await Promise.all(
          ['n1', 'n2', 'n3'].map(async (member) => {
            return (await environment.storeOf(cluster, member).read())?.primary.uris.log;
          }),
        );
        expect(primaries).toEqual(environment.targets(cluster));
      }
      await client.rollback('two', 'a drill');
      expect(await environment.outcome('two')).toBe('rolled-back');
      for (const cluster of second) {
        expect(await environment.primaries(cluster)).toEqual(environment.sources(cluster));
      }
    },
  );

  test(
    'what is wished twice counts once; a cluster is skipped; a stop holds everything until it is resumed [OPS-3]',
    long,
    async () => {
      const { client } = environment;
      const [one = '', , three = ''] = third;
      const files = await environment.files({
        waves: [{ clusters: '100%' }],
        concurrency: { clusters: 1 },
        finalize: 'per-wave',
      });
      await environment.cli(
        'fleet',
        'start',
        'more',
        ...files,
        '--clusters',
        ...third,
        '--id',
        'r3',
      );
      await client.skip('more', three);
      await environment.until('more', 'the first moves', ({ counts }) => counts.moving === 1);
      const again = { operationId: 'stop-1' };
      await client.stop('more', 'a drill', again);
      await client.stop('more', 'a drill', again);
      const held = await environment.until('more', 'it holds', ({ clusters, stage }) => {
        return stage === 'stopped' && clusters.every(({ waiting }) => waiting?.kind === 'paused');
      });
      expect(held.counts).toMatchObject({ moving: 1, skipped: 1 });
      await expect(client.skip('more', one)).rejects.toMatchObject({
        code: 'rollout.illegal-action',
      });
      await client.resume('more');
      expect(await environment.outcome('more')).toBe('partly');
      expect((await client.result('more')).counts).toMatchObject({ finalized: 2, skipped: 1 });
      expect(await environment.primaries(three)).toEqual([null, null, null]);
      const store = await openControlStore(environment);
      try {
        const lines = await store.audit.page({ limit: 500, subject: fleetWorkflowId('more') });
        const actions = lines.map(({ action }) => action);
        expect(actions.filter((action) => action === 'stop')).toHaveLength(1);
        expect(actions).toContain('start');
      } finally {
        await store.close();
      }
    },
  );

  test.runIf(isLong)(
    'clusters that move in two steps are finalized wave by wave in both, and take a slot for each [ROLL-1] [ROLL-6]',
    long,
    async () => {
      const files = await environment.files({
        shape: 'staged',
        waves: [{ clusters: 1 }, { clusters: '100%' }],
        concurrency: { clusters: 1 },
        finalize: 'per-wave',
      });
      const only = ['--clusters', ...inTwoSteps];
      await environment.cli('fleet', 'start', 'steps', ...files, ...only, '--id', 'r4');
      expect(await environment.outcome('steps')).toBe('finalized');
      for (const cluster of inTwoSteps) {
        expect(await environment.primaries(cluster)).toEqual(environment.targets(cluster));
        expect(await environment.storeOf(cluster, 'n1').read()).toMatchObject({
          lastEnded: { id: 'r4-b1', result: 'finalized' },
        });
      }
      // Of the two whose storages were finalized at once, each moves all its programs in its turn.
      const moved: string[] = [];
      const store = await openControlStore(environment);
      try {
        for (const line of await store.audit.page({ limit: 1000 })) {
          const isMove = line.action === 'begin' && line.reason.includes('r4-b1');
          if (isMove || line.action === 'next-step') moved.push(line.subject);
        }
      } finally {
        await store.close();
      }
      const turns = moved.filter((subject, i) => subject !== moved[i - 1]);
      expect([...turns].toSorted()).toEqual(inTwoSteps.map(clusterWorkflowId).toSorted());
      expect(moved).toHaveLength(4 * inTwoSteps.length);
    },
  );

  test(
    'a fleet begins as its window opens, whatever was killed meanwhile; at its deadline what has not begun is left [OPS-6]',
    long,
    async () => {
      const { client, temporal } = environment;
      const [moved = '', unwell = '', never = ''] = nightly;
      expect(await environment.outcome('night')).toBe('partly');
      const { begun, finalized, skipped, failed } = (await client.result('night')).counts;
      expect([skipped, failed]).toEqual([0, 0]);
      const { closedAt } = await client.status('night');
      const endedMs = Date.parse(closedAt ?? '');
      expect(endedMs).toBeGreaterThanOrEqual(deadlineMs);
      expect(endedMs).toBeLessThan(deadlineMs + slackMs);
      const cluster = (name: string) => temporal.workflow.getHandle(clusterWorkflowId(name));
      const { startTime } = await cluster(moved).describe();
      expect(startTime.getTime()).toBeGreaterThanOrEqual(opensMs);
      await expect(cluster(never).describe()).rejects.toThrow(/not found/);
      // On a loaded machine the first may have to go back, too.
      expect(begun).toBe(finalized + 1);
      const primaries = await environment.primaries(moved);
      const targets = environment.targets(moved);
      const isMoved = primaries.map((primary, i) => primary === targets[i]);
      expect(isMoved).toEqual(targets.map(() => finalized === 1));
      expect(await environment.primaries(unwell)).toEqual([null, null, null]);
    },
  );
});

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { runCli } from '../cli/run-cli.ts';
import { hasAll, KvWriter } from '../go/kv-writer.ts';
import { isLong } from '../setup/long.ts';
import { missing } from '../setup/toolchain.ts';
import type { ClusterStatus } from '../../workflows/rollout-messages.ts';
import { ClusterEnvironment, stagesOf } from './cluster-environment.ts';
import { memberOf, stage, waitsForWord } from './cluster-looks.ts';
import { begun, ended, resultsOf } from './cluster-journals.ts';
import { eventually } from './migration-environment.ts';

const minuteMs = 60_000;

describe.skipIf(missing('temporal') || missing('go'))('a rollout of a cluster', () => {
  let environment: ClusterEnvironment;

  beforeAll(async () => {
    environment = await ClusterEnvironment.start();
  }, 120_000);

  afterAll(async () => environment.close());

  /** In the second step of two. */
  const isBinary = (status: ClusterStatus, member: string) =>
    memberOf(status, member)?.step === 'binary';

  async function runNextProgram(): Promise<boolean[]> {
    return Promise.all(environment.members.map((member) => environment.runsNextProgram(member)));
  }

  test(
    'in two stages under load, both with the leader last: refused while a hook is missing; one whose new program does not come up goes back alone; abandoned half way it goes on [ROLL-1] [ROLL-2] [ROLL-3] [ROLL-5] [ROLL-6] [I14]',
    { timeout: 240_000 },
    async () => {
      const { kv, client, members } = environment;
      const order = await environment.inOrder();
      const [, second = '', leader = ''] = order;
      for (const member of members) await environment.putNextProgram(member);
      const writers = ['a', 'b'].map((name) => new KvWriter(kv, name));
      const acknowledged = () => writers.flatMap((writer) => writer.acknowledged);
      const rollout = await environment.rollout({
        shape: 'staged',
        onFailure: 'rollback-replica',
        // In the second step, when another leads, it is the first.
        order: [leader],
      });
      const { rolloutId } = rollout;

      const replace = await environment.setHook(second, 'replace', 'none');
      await client.start(rollout);
      const refused = await environment.until(
        'the hook is missed before anything has begun',
        ({ waiting }) => waiting?.kind === 'failed',
      );
      expect(refused.waiting?.reason).toContain(`${second}: hooks configured: none for replace`);
      expect(stagesOf(refused)[second]).toBe('pending');
      expect(await begun(environment, rolloutId)).toEqual([]);
      await environment.setHook(second, 'replace', replace);

      await environment.breakProbe(leader, `${rolloutId}-b1`);
      await client.resume('kv');
      const failed = await environment.until(
        'the new program has not come up, and the one of before is back',
        (status) =>
          status.stage === 'failed' && memberOf(status, leader)?.report?.outcome === 'rolled-back',
        120_000,
      );
      expect(failed.waiting).toMatchObject({ kind: 'stopped' });
      expect(failed.waiting?.reason).toMatch(new RegExp(`${leader}: .*probe`));
      expect(await environment.runsNextProgram(leader)).toBe(false);
      expect(await begun(environment, `${rolloutId}-s`)).toEqual(order);

      await client.resume('kv');
      await environment.until('it runs the new one', stage(leader, 'soaking'));
      await client.abandon('kv', 'another day');
      const { outcome, members: left } = await client.result('kv');
      expect({ outcome, leader: left[leader] }).toEqual({
        outcome: 'abandoned',
        leader: 'soaking',
      });
      const leads = await environment.leader();
      expect(leads).not.toBe(leader);
      expect(await environment.runsNextProgram(leads)).toBe(false);
      const before = acknowledged().length;
      await kv.until('the mixed cluster commits', async () => acknowledged().length > before + 20);

      expect(await client.start(rollout)).toMatchObject({ fresh: true });
      expect(await environment.outcome(120_000)).toBe('finalized');
      const { status } = await client.status('kv');
      expect(status?.members.every(({ member }) => isBinary(status, member))).toBe(true);
      expect((await begun(environment, `${rolloutId}-b`)).at(-1)).toBe(leads);
      expect(await runNextProgram()).toEqual([true, true, true]);
      for (const member of members) {
        const tried =
          member === leader ? { b1: 'rolled-back', b2: 'finalized' } : { b1: 'finalized' };
        expect(await resultsOf(environment, member, rolloutId)).toEqual({
          s1: 'finalized',
          ...tried,
        });
        expect(await environment.storeOf(member).read()).toMatchObject({
          primary: { uris: { log: environment.target(member, rolloutId) } },
          migration: null,
        });
      }
      await Promise.all(writers.map((writer) => writer.stop()));
      await hasAll(kv, acknowledged());
    },
  );

  test.runIf(isLong)(
    'of programs alone, under load: planned as such, the leader last, no write is lost [ROLL-1] [ROLL-3] [ROLL-4] [ROLL-5]',
    { timeout: 180_000 },
    async () => {
      const { kv, client, members } = environment;
      const order = await environment.inOrder();
      const writer = new KvWriter(kv, 'programs');
      for (const member of members) await environment.putNextProgram(member);
      const rollout = await environment.rollout({ shape: 'binary' });
      const { rolloutId } = rollout;
      const files = await environment.writeFiles(rollout);
      const plan = await runCli(['cluster', 'plan', 'kv', ...files], { env: environment.address });
      expect(plan.code, plan.stderr).toBe(0);
      expect(plan.stdout.toString('utf8')).toMatch(/on n\d: (\d+) of \1 checks passed; binary, /);
      await client.start(rollout);
      expect(await environment.outcome()).toBe('finalized');
      expect(await begun(environment, `${rolloutId}-b`)).toEqual(order);
      expect(await runNextProgram()).toEqual([true, true, true]);
      for (const { member, source } of rollout.members) {
        expect(await resultsOf(environment, member, rolloutId)).toEqual({ b1: 'finalized' });
        expect((await environment.primaryOf(member)).log).toBe(source.log);
      }
      await writer.stop();
      await hasAll(kv, writer.acknowledged);
    },
  );

  test.runIf(isLong)(
    'goes back as a whole where the policy says so: a member’s probe fails after its cutover, and all are where they were, the newest first [ROLL-6] [OPS-2]',
    { timeout: 120_000 },
    async () => {
      const { kv, client } = environment;
      const [first = '', second = '', leader = ''] = await environment.inOrder();
      const writer = new KvWriter(kv, 'back');
      const rollout = await environment.rollout({
        onFailure: 'rollback-cluster',
        soakSeconds: 3600,
        finalize: 'manual',
      });
      await environment.breakProbe(second, `${rollout.rolloutId}-s1`);
      await client.start(rollout);
      expect(await environment.outcome()).toBe('rolled-back');
      expect(await client.result('kv')).toMatchObject({
        reason: expect.stringMatching(`${second} failed: .*probe`),
        members: { [first]: 'rolled-back', [second]: 'rolled-back', [leader]: 'skipped' },
      });
      expect(await ended(environment, `${rollout.rolloutId}-s1`)).toEqual([second, first]);
      for (const { member, source } of rollout.members) {
        expect(await environment.storeOf(member).read()).toMatchObject({
          primary: { uris: { log: source.log } },
          mirror: null,
          migration: null,
        });
      }
      await writer.stop();
      await hasAll(kv, writer.acknowledged);
    },
  );

  test(
    'whose window closes while a member waits for approval: under "detach" its mirror goes, and what is left waits for the next window by name [ROLL-6] [OPS-3]',
    { timeout: 300_000 },
    async () => {
      const { client } = environment;
      const [first = ''] = await environment.inOrder();
      const closesMs = minuteFrom(Date.now() + (isLong ? 75_000 : 25_000));
      const rollout = await environment.rollout({
        approval: 'per-cluster',
        atWindowEnd: 'detach',
        windows: [until(closesMs), from(closesMs + minuteMs)],
      });
      const { rolloutId } = rollout;
      await client.start(rollout);
      await environment.until('the first waits', waitsForWord(first));
      if (isLong) {
        await environment.kill('control');
        await environment.runWithoutStore();
        // News: the window is looked at anew.
        await client.throttle('kv', null);
        const away = await environment.until(
          'nobody knows of the window',
          ({ waiting }) => waiting?.reason.includes('the store does not answer') === true,
          75_000,
        );
        expect(stagesOf(away)[first]).toBe('moving');
        await environment.kill('control');
        await environment.run('control');
      }
      expect(await environment.storeOf(first).read()).toMatchObject({ mirror: { stage: 'dual' } });
      const closed = await environment.until(
        'it is closed',
        ({ waiting }) => waiting?.reason.startsWith('no maintenance window') === true,
        2 * minuteMs,
      );
      const opens = new Date(closesMs + minuteMs).toISOString();
      expect(closed.waiting?.reason).toBe(
        `no maintenance window is open: the next one opens at ${opens}`,
      );
      expect(new Set(Object.values(stagesOf(closed)))).toEqual(new Set(['pending']));
      expect(await environment.storeOf(first).read()).toMatchObject({
        mirror: null,
        migration: null,
        lastEnded: { id: `${rolloutId}-s1`, result: 'rolled-back' },
      });
      if (!isLong) {
        await client.abandon('kv', 'the next one is in a minute');
        expect((await client.result('kv')).members).toEqual(stagesOf(closed));
        return;
      }
      await client.approve('kv');
      expect(await environment.outcome(2 * minuteMs)).toBe('finalized');
      expect(Date.now()).toBeGreaterThan(closesMs + minuteMs);
      expect(await resultsOf(environment, first, rolloutId)).toEqual({
        s1: 'rolled-back',
        s2: 'finalized',
      });
    },
  );

  test.runIf(isLong)(
    'begins when its window opens; one that closes before a cutover holds the mirror, which goes on in the next [ROLL-6] [OPS-3]',
    { timeout: 400_000 },
    async () => {
      const { client } = environment;
      const [first = ''] = await environment.inOrder();
      const opensMs = minuteFrom(Date.now() + 10_000);
      const closesMs = opensMs + minuteMs;
      const rollout = await environment.rollout({
        approval: 'per-cluster',
        windows: [{ from: timeOf(opensMs), to: timeOf(closesMs) }, from(closesMs + minuteMs)],
      });
      const { rolloutId } = rollout;
      const named = (ms: number) => `the next one opens at ${new Date(ms).toISOString()}`;
      const isClosed = ({ waiting }: ClusterStatus) => waiting?.kind === 'window';
      await client.start(rollout);
      const early = await environment.until('it waits for its window', isClosed);
      expect(early.waiting?.reason).toContain(named(opensMs));
      expect(await begun(environment, rolloutId)).toEqual([]);
      await environment.until('the first waits', waitsForWord(first), 2 * minuteMs);
      expect(Date.now()).toBeGreaterThan(opensMs);

      await eventually('the window closes', async () => Date.now() > closesMs, 2 * minuteMs);
      await client.approve('kv');
      const held = await environment.until('it holds', isClosed);
      expect(held.waiting?.reason).toContain(named(closesMs + minuteMs));
      expect(stagesOf(held)[first]).toBe('moving');
      expect(await environment.storeOf(first).read()).toMatchObject({
        mirror: { stage: 'dual' },
        migration: { id: `${rolloutId}-s1`, phase: 'swap' },
      });
      expect(await environment.outcome(3 * minuteMs)).toBe('finalized');
      expect(await resultsOf(environment, first, rolloutId)).toEqual({ s1: 'finalized' });
    },
  );

  test.runIf(isLong)(
    'in two stages whose second is rolled back: the storages stay moved, it has come to "partly", and goes on when it is started again [ROLL-1] [ROLL-6]',
    { timeout: 240_000 },
    async () => {
      const { client, members } = environment;
      for (const member of members) await environment.putNextProgram(member);
      const rollout = await environment.rollout({
        shape: 'staged',
        soakSeconds: 3600,
        finalize: 'manual',
      });
      const { rolloutId } = rollout;
      await client.start(rollout);
      await environment.until('all storages soak', ({ stage: is }) => is === 'soaking', 90_000);
      await client.complete('kv');
      await environment.until(
        'all programs soak',
        (status) => status.stage === 'soaking' && members.every((one) => isBinary(status, one)),
        120_000,
      );
      await client.rollback('kv', { member: null, reason: 'the new program is no good' });
      expect(await environment.outcome(120_000)).toBe('partly');
      expect(await ended(environment, `${rolloutId}-b1`)).toEqual(
        (await begun(environment, `${rolloutId}-b1`)).toReversed(),
      );
      expect(await runNextProgram()).toEqual([false, false, false]);
      for (const member of members) {
        expect((await environment.primaryOf(member)).log).toBe(
          environment.target(member, rolloutId),
        );
      }
      await client.start(rollout);
      await environment.until(
        'all programs soak again',
        (status) => status.stage === 'soaking' && members.every((one) => isBinary(status, one)),
        120_000,
      );
      await client.complete('kv');
      expect(await environment.outcome()).toBe('finalized');
      expect(await runNextProgram()).toEqual([true, true, true]);
    },
  );
});

/** The first full minute not before then. */
function minuteFrom(ms: number): number {
  return Math.ceil(ms / minuteMs) * minuteMs;
}

/** A window that opened hours ago. */
function until(ms: number) {
  return { from: timeOf(ms - 120 * minuteMs), to: timeOf(ms) };
}

/** One that stays open for hours. */
function from(ms: number) {
  return { from: timeOf(ms), to: timeOf(ms + 120 * minuteMs) };
}

/** In UTC, as a policy has it. */
function timeOf(ms: number): string {
  return new Date(ms).toISOString().slice(11, 16);
}

import { rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { Phase } from '../../core/phases.ts';
import type { MigrationStatus } from '../../workflows/messages.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';
import type { HostProcess } from '../host/host-process.ts';
import { readEntries } from '../host/host-session.ts';
import { SteadyWriter } from '../host/steady-writer.ts';
import { isLong } from '../setup/long.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { missing } from '../setup/toolchain.ts';
import { holdPhase } from '../soak/hold-phase.ts';
import { livePhases } from '../soak/walk-phases.ts';
import { eventually, MigrationEnvironment } from './migration-environment.ts';

/**
 * A kill of the agent may cost a heartbeat time-out, one of the control worker a sticky queue's: in
 * every phase by QUORUMSHIFT_LONG=1.
 */
const killedIn: Readonly<Record<string, readonly Phase[]>> = isLong
  ? {}
  : { agent: ['mirror', 'rollback-swap'], control: ['validate', 'rollback-validate'] };

describe.skipIf(missing('temporal'))('a live replica migrates by a workflow', () => {
  let environment: MigrationEnvironment;
  let host: HostProcess;

  beforeEach(async () => {
    environment = await MigrationEnvironment.create({
      ...(await sharedTemporal()),
      // It fails on the target alone, once there is such a file.
      hooks: (root) => ({
        probe: {
          exec: ['sh', '-c', `case "$QUORUMSHIFT_LOG_URI" in */b) test ! -e ${root}/sick;; esac`],
        },
      }),
    });
    host = await environment.startHost();
    await Promise.all([environment.start('control'), environment.start('agent')]);
  });

  afterEach(async () => {
    await host.end('SIGTERM');
    await environment.close();
  });

  const input = (target: string, given: Partial<Parameters<typeof environment.input>[0]> = {}) =>
    environment.input({
      source: environment.uri('local', 'a'),
      target: environment.uri(target, 'b'),
      ...given,
    });

  const waiting = (kind: string): Promise<MigrationStatus> =>
    eventually(`the wait: ${kind}`, async () => {
      const { status } = await environment.client.status(environment.replica);
      if (status?.waiting?.kind === 'failed') throw new Error(status.waiting.reason);
      return status?.waiting?.kind === kind ? status : null;
    });

  const restartHost = async () => {
    await host.end('SIGKILL');
    host = await environment.startHost();
  };

  /** Whatever was acknowledged is there. */
  const expectAll = async (last: bigint) => {
    const { member } = environment.replica;
    expect(await readEntries(host.client, member, { first: 1n, last })).toEqual(
      entriesOf(1n, last),
    );
  };

  test('local to rocksdb to sqlite while it is written: no write fails, the sources are retired behind fences [CUT-1] [CUT-7] [CUT-8]', async () => {
    const writer = new SteadyWriter(host.client, environment.replica.member);
    const { client } = environment;
    await client.start(input('rocksdb', { id: 'm1' }));
    expect(await environment.outcome()).toMatchObject({ outcome: 'finalized' });
    const next = {
      source: environment.uri('rocksdb', 'b'),
      target: environment.uri('sqlite', 'c'),
    };
    await client.start(environment.input({ ...next, id: 'm2', policy: { deleteSource: true } }));
    expect(await environment.outcome()).toMatchObject({ outcome: 'finalized' });
    await expectAll(await writer.stop());
    expect(await environment.store.read()).toMatchObject({
      primary: { uris: { log: next.target } },
      mirror: null,
      former: null,
      migration: null,
      lastEnded: { id: 'm2', result: 'finalized' },
    });
    for (const place of ['a/log', 'b']) {
      expect((await stat(join(environment.data, place))).isFile()).toBe(true);
    }
  });

  test.runIf(isLong)(
    'begun while its storage host is away: it waits for it by name, and goes on [OPS-1] [ROLL-2]',
    async () => {
      await host.end('SIGKILL');
      await environment.client.start(input('sqlite'));
      const { waiting: named } = await waiting('host-unreachable');
      expect(named?.reason).toContain('the storage host of machine');
      expect((await environment.store.read())?.migration).toBe(null);
      host = await environment.startHost();
      expect(await environment.outcome()).toMatchObject({ outcome: 'finalized' });
    },
  );

  test('approved by its proof, then rolled back in the soak: nothing that was written since is lost [EQ-3] [CUT-4] [CUT-5] [DUAL-4] [I10]', async () => {
    const writer = new SteadyWriter(host.client, environment.replica.member);
    const { client, replica } = environment;
    await client.start(input('sqlite', { policy: { approval: 'manual', finalize: 'manual' } }));
    const { view } = await waiting('approval');
    await client.approve(replica, view?.proof ?? { digest: '', generation: 0 });
    const soaking = await waiting('finalize');
    expect(soaking.results.find(({ did }) => did === 'swap')?.info).toMatchObject({
      primary: environment.uri('sqlite', 'b'),
      pauseMs: expect.any(Number),
    });
    expect((await environment.store.read())?.mirror).toMatchObject({
      wasPrimary: true,
      window: { entries: expect.any(Number), bytes: expect.any(Number) },
    });
    await client.rollback(replica, 'test');
    expect(await environment.outcome()).toMatchObject({ outcome: 'rolled-back', reason: 'test' });
    await expectAll(await writer.stop());
    expect(await environment.store.read()).toMatchObject({
      primary: { uris: { log: environment.uri('local', 'a/log') } },
      mirror: null,
      former: null,
    });
  });

  test('rolled back before the cutover: the mirror is gone, another migration may take its place', async () => {
    const { client, replica } = environment;
    await client.start(input('rocksdb', { policy: { approval: 'manual' } }));
    await waiting('approval');
    await client.rollback(replica, 'test');
    expect(await environment.outcome()).toMatchObject({ outcome: 'rolled-back' });
    await client.start(input('rocksdb', { id: 'again' }));
    expect(await environment.outcome()).toMatchObject({ outcome: 'finalized' });
  });

  test('the way back is lost in the soak: a rollback goes back into a fresh instance [DUAL-8] [CUT-5] [I3]', async () => {
    const { client, replica } = environment;
    const writer = new SteadyWriter(host.client, replica.member);
    await client.start(input('rocksdb', { policy: { finalize: 'manual' } }));
    await waiting('finalize');
    const last = await writer.stop();
    await host.end('SIGKILL');
    await rm(join(environment.data, 'a'), { recursive: true });
    host = await environment.startHost();
    expect(await environment.store.read()).toMatchObject({
      mirror: null,
      former: { next: 'keep' },
    });
    await client.rollback(replica, 'test');
    expect(await environment.outcome()).toMatchObject({ outcome: 'rolled-back' });
    await expectAll(last);
    expect(await environment.store.read()).toMatchObject({
      primary: { uris: { log: environment.uri('local', 'a/log') } },
      mirror: null,
      former: null,
    });
  });

  test('it soaks: both are compared now and then; a lost way back is said, and complete ends it [EQ-2] [DUAL-8]', async () => {
    const { client, replica } = environment;
    const writer = new SteadyWriter(host.client, replica.member);
    const policy = { finalize: 'manual', validateEverySeconds: 1 } as const;
    await client.start(input('rocksdb', { policy }));
    const compared = (outcome: string) =>
      eventually(`a comparison in the soak: ${outcome}`, async () => {
        const { status } = await client.status(replica);
        return status?.results.some(
          (result) => result.did === 'soak-validate' && result.outcome === outcome,
        );
      });
    await compared('done');
    const last = await writer.stop();
    await host.end('SIGKILL');
    await rm(join(environment.data, 'a'), { recursive: true });
    host = await environment.startHost();
    await compared('lost');
    await client.complete(replica);
    expect(await environment.outcome()).toMatchObject({ outcome: 'finalized' });
    await expectAll(last);
  });

  test('appends are slower than the policy allows in the soak: it rolls back by itself [OPS-2]', async () => {
    const { client, replica } = environment;
    const writer = new SteadyWriter(host.client, replica.member);
    const policy = { probeEverySeconds: 1, probeFailures: 1, appendP99Ms: 0.001 } as const;
    await client.start(input('rocksdb', { policy: { ...policy, finalize: 'manual' } }));
    const { outcome, reason } = await environment.outcome();
    expect([outcome, reason]).toEqual(['rolled-back', expect.stringContaining('append p99')]);
    await expectAll(await writer.stop());
  });

  test('the proof is older than the policy allows: it is made anew before the cutover [EQ-2]', async () => {
    const { client, replica } = environment;
    const policy = { approval: 'manual', proofMaxAgeSeconds: 4 } as const;
    await client.start(input('rocksdb', { policy }));
    const { view } = await waiting('approval');
    const madeBy = Date.now();
    await eventually('its proof is too old', async () => Date.now() > madeBy + 4_000);
    // Nobody writes: the proof that is made anew has the digest that was approved.
    await client.approve(replica, view?.proof ?? { digest: '', generation: 0 });
    expect(await environment.outcome()).toMatchObject({ outcome: 'finalized' });
    const { status } = await client.status(replica);
    const swaps = status?.results.filter(({ did }) => did === 'swap').map((swap) => swap.outcome);
    expect([swaps?.[0], swaps?.at(-1)]).toEqual(['stale', 'done']);
  });

  test('the probe fails in the soak: it rolls back by itself [OPS-2] [CUT-5]', async () => {
    const { client, store } = environment;
    const writer = new SteadyWriter(host.client, environment.replica.member);
    const policy = { finalize: 'manual', probeEverySeconds: 1, probeFailures: 2 } as const;
    await client.start(input('sqlite', { policy }));
    await waiting('finalize');
    await writeFile(join(environment.root, 'sick'), '');
    const { outcome, reason } = await environment.outcome();
    expect([outcome, reason]).toEqual([
      'rolled-back',
      expect.stringContaining('the probe failed 2 times in the soak'),
    ]);
    await expectAll(await writer.stop());
    expect((await store.read())?.primary.uris.log).toBe(environment.uri('local', 'a/log'));
  });

  test.each(['agent', 'storage host', 'control'] as const)(
    'kill -9 of the %s in its phases, to the soak and back: it ends as without [OPS-1] [CUT-5] [I1] [I13]',
    { timeout: 180_000 },
    async (who) => {
      const { client, replica, store } = environment;
      const writer = new SteadyWriter(host.client, replica.member);
      await client.start(input('rocksdb', { policy: { finalize: 'manual', soakSeconds: 3600 } }));
      const kill = async (phase: Phase) => {
        if (phase === 'finalize' || killedIn[who]?.includes(phase) === false) return;
        const hold = await holdPhase(store, { migrationId: 'm1', phase });
        expect(hold?.phase).toBe(phase);
        if (who === 'storage host') await host.end('SIGKILL');
        else await environment.kill(who);
        await hold?.release();
        if (who === 'storage host') await restartHost();
        else await environment.start(who);
      };
      for (const phase of livePhases.forward) await kill(phase);
      await waiting('soak');
      await client.rollback(replica, 'test');
      for (const phase of livePhases.rollback) await kill(phase);
      expect(await environment.outcome()).toMatchObject({ outcome: 'rolled-back' });
      const last = who === 'storage host' ? writer.last : await writer.stop();
      expect(last).toBeGreaterThan(0n);
      await expectAll(last);
      expect(await store.read()).toMatchObject({
        primary: { uris: { log: environment.uri('local', 'a/log') } },
        mirror: null,
        former: null,
        migration: null,
      });
    },
  );
});

import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { defaultFamilies } from '../../storage/families/registry.ts';
import { missing } from '../setup/toolchain.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { eventually, MigrationEnvironment } from './migration-environment.ts';
import { replicaHooks, SupervisedReplica } from './supervised-replica.ts';
import { treeBytes } from './tree-bytes.ts';
import { WatchedPaths } from './watched-paths.ts';

describe.skipIf(missing('temporal'))('a supervised replica that runs', () => {
  let environment: MigrationEnvironment;
  let replica: SupervisedReplica;
  let watched: WatchedPaths;
  let source: string;
  let target: string;
  let sourcePaths: string[];

  beforeEach(async () => {
    environment = await MigrationEnvironment.create({
      ...(await sharedTemporal()),
      hooks: replicaHooks,
    });
    source = await environment.unpack('node-killed', 'a');
    target = environment.uri('rocksdb', 'b');
    sourcePaths = ['log', 'raft_meta', 'snapshot'].map((name) => join(environment.data, 'a', name));
    [replica] = await Promise.all([
      SupervisedReplica.start(environment.root, defaultFamilies().expand(source)),
      environment.start('control'),
      environment.start('agent'),
    ]);
    watched = await WatchedPaths.start([...sourcePaths, join(environment.data, 'b')]);
    await replica.vote('10.0.0.1:8100:0:0');
    await replica.append('on-a');
  });

  afterEach(async () => {
    await watched.end();
    await replica.stop();
    await environment.close();
  });

  test('is moved to rocksdb, votes and appends there, is rolled back, and serves on a fresh source with all of it [CUT-6] [CUT-7] [I4] [I10]', async () => {
    await migrate('manual');
    expect(await replica.state()).toMatchObject({ log: target });
    await replica.vote('10.0.0.2:8100:0:0');
    for (let i = 0; i < 20; i += 1) await replica.append(`on-b-${i}`);

    await environment.client.rollback(environment.replica, 'test');
    expect(await environment.outcome()).toMatchObject({ outcome: 'rolled-back' });

    expect(await replica.state()).toMatchObject({ log: `${source}/log` });
    expect(await replica.remembered()).toEqual(acknowledged());
    await replica.append('on-a-again');
    expect(await replica.remembered()).toEqual(acknowledged());
    expect(await environment.store.read()).toMatchObject({
      migration: null,
      primary: { parkedTag: null, uris: { log: `${source}/log` } },
      lastEnded: { result: 'rolled-back' },
    });
    // The target is fenced; the source from before lies aside.
    expect((await stat(join(environment.data, 'b'))).isFile()).toBe(true);
    expect(await readdir(join(environment.data, 'a'))).toContain('log.quorumshift-m1-source');
    await expectSights({
      source: ['in', 'fenced', 'in'],
      target: ['missing', 'fenced', 'in', 'fenced'],
    });
  });

  test('is rolled back after the cutover without a write: the old source comes back byte for byte [CUT-6] [CUT-7] [I12]', async () => {
    await migrate('manual');
    const parked = await parkedBytes();
    await environment.client.rollback(environment.replica, 'test');
    expect(await environment.outcome()).toMatchObject({ outcome: 'rolled-back' });

    expect(await replica.state()).toMatchObject({ log: `${source}/log` });
    expect(await Promise.all(sourcePaths.map(treeBytes))).toEqual(parked);
    expect(await replica.remembered()).toEqual(acknowledged());
    expect((await stat(join(environment.data, 'b'))).isFile()).toBe(true);
    await expectSights({
      source: ['in', 'fenced', 'in'],
      target: ['missing', 'fenced', 'in', 'fenced'],
    });
  });

  test('is finalized on rocksdb and serves there with all of it; its old places stay fenced [CUT-7] [CUT-8]', async () => {
    await migrate('manual');
    await replica.append('on-b');
    await environment.client.complete(environment.replica);
    expect(await environment.outcome()).toMatchObject({ outcome: 'finalized' });

    expect(await replica.state()).toMatchObject({ log: target });
    expect(await replica.remembered()).toEqual(acknowledged());
    await expectSights({ source: ['in', 'fenced'], target: ['missing', 'fenced', 'in'] });
  });

  /** Until the replica serves on the target and an operator is awaited. */
  async function migrate(finalize: 'manual'): Promise<void> {
    await environment.client.start(environment.input({ source, target, policy: { finalize } }));
    await eventually('the soak', async () => {
      const { run, status, failure } = await environment.client.status(environment.replica);
      const waiting = status?.waiting;
      if (run !== 'running') throw new Error(failure ?? `it has ended: ${status?.outcome}`);
      if (waiting?.kind === 'failed' || waiting?.kind === 'held') throw new Error(waiting.reason);
      return waiting?.kind === 'finalize';
    });
  }

  function acknowledged() {
    return { appended: replica.appended, voted: replica.voted };
  }

  function parkedBytes() {
    return Promise.all(sourcePaths.map((path) => treeBytes(`${path}.quorumshift-m1-source`)));
  }

  /** What the watcher has seen at every path: one that is there is never missing again. */
  async function expectSights(sights: { source: string[]; target: string[] }): Promise<void> {
    const { openings, seen } = await watched.end();
    expect(openings).toBeGreaterThan(10_000);
    expect(seen).toEqual({
      ...Object.fromEntries(sourcePaths.map((path) => [path, sights.source])),
      [join(environment.data, 'b')]: sights.target,
    });
  }
});

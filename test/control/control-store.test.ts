import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import Database from 'libsql';
import { describe, expect, test } from 'vitest';

import { openControlStore } from '../../control/control-store.ts';
import { parseInventory } from '../../control/inventory-file.ts';
import { families, manyRollouts, withStore } from './open-store.ts';

describe('the control store', () => {
  test('its files are for their owner alone, also where the directory was opened to others', () =>
    withStore(async (store, controlDir) => {
      await store.audit.append(fact('a'));
      await store.close();
      for (const name of readdirSync(controlDir)) chmodSync(join(controlDir, name), 0o666);
      const again = await openControlStore({ controlDir });
      await again.audit.append(fact('b'));
      expect(statSync(controlDir).mode & 0o777).toBe(0o700);
      const modes = readdirSync(controlDir)
        .filter((name) => name.startsWith('control.db'))
        .map((name) => statSync(join(controlDir, name)).mode & 0o777);
      expect(modes).toEqual([0o600, 0o600, 0o600]);
      await again.close();
    }));

  test('a file that is no database, and one of a newer release, are refused and kept', () =>
    withStore(async (store, controlDir) => {
      await store.close();
      const file = join(controlDir, 'control.db');
      const newer = new Database(file);
      newer.exec('PRAGMA user_version=999');
      newer.close();
      await expect(openControlStore({ controlDir })).rejects.toMatchObject({
        code: 'store.unusable',
        message: expect.stringContaining('it is of version 999'),
      });
      writeFileSync(file, 'this is no database, but text that is longer than a header');
      await expect(openControlStore({ controlDir })).rejects.toMatchObject({
        code: 'store.unusable',
      });
      expect(execFileSync('head', ['-c', '4', file], { encoding: 'utf8' })).toBe('this');
    }));

  test('many processes that make it at the same moment all have it', async () => {
    const root = await mkdtemp(join(tmpdir(), 'quorumshift-control-'));
    const writer = resolve('dist/test/control/audit-writer.js');
    const children = Array.from({ length: 6 }, (_, i) => {
      const args = [writer, join(root, 'a', 'control'), `w${i}`];
      return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    });
    const said = children.map(
      (child) =>
        new Promise<string>((done) => {
          child.stdout.once('data', () => done('wrote'));
          child.stderr.once('data', (text: Buffer) => done(text.toString('utf8')));
        }),
    );
    expect(await Promise.all(said)).toEqual(children.map(() => 'wrote'));
    const ends = children.map((child) => new Promise((done) => child.once('close', done)));
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(ends);
    await rm(root, { recursive: true });
  });

  test('opened twice by one process, it keeps its log when another one has come and gone', () =>
    withStore(async (store, controlDir) => {
      const second = await openControlStore({ controlDir });
      const command = ['bin/quorumshift.mjs', 'audit', 'export', '--control-dir', controlDir];
      const listed = () => execFileSync(process.execPath, command, { encoding: 'utf8' });
      await store.audit.append(fact('first'));
      expect(listed()).toContain('first');
      await second.audit.append(fact('second'));
      expect(listed()).toContain('second');
      await second.close();
      await store.audit.append(fact('third'));
      expect(listed()).toContain('third');
    }));

  test('a closed store refuses calls, and ends those that were made first', () =>
    withStore(async (store) => {
      const before = store.audit.append(fact('a'));
      await store.close();
      expect((await before).seq).toBe(1);
      await expect(store.audit.append(fact('b'))).rejects.toMatchObject({ code: 'io.failed' });
    }));
});

describe('snapshots', () => {
  test('pages and clusters of 2,000 come back in order, the same content under one digest', () =>
    withStore(async (store) => {
      const rollouts = manyRollouts(2000);
      const snapshot = await store.snapshots.put(rollouts);
      expect(await store.snapshots.put(rollouts)).toBe(snapshot);
      const seen: string[] = [];
      const began = performance.now();
      for (let from: number | null = 0; from !== null;) {
        const page = await store.snapshots.page({ snapshot, from, limit: 100 });
        expect(page.total).toBe(2000);
        seen.push(...page.clusters.map(({ cluster }) => cluster));
        from = page.next;
      }
      const took = performance.now() - began;
      expect(seen).toEqual(rollouts.map(({ cluster }) => cluster));
      // Some 20 ms for 20 pages when nothing else runs.
      expect(took).toBeLessThan(10_000);
      const cluster = 'c1999';
      expect(await store.snapshots.cluster({ snapshot, cluster })).toEqual(rollouts[1999]);
    }));

  test('a digest or a cluster that is not there is named, with the store', () =>
    withStore(async (store, controlDir) => {
      const snapshot = await store.snapshots.put(manyRollouts(1));
      const page = { snapshot: 'f'.repeat(64), from: 0, limit: 1 };
      await expect(store.snapshots.page(page)).rejects.toMatchObject({
        code: 'snapshot.unknown',
        message: expect.stringContaining(controlDir),
      });
      await expect(store.snapshots.cluster({ snapshot, cluster: 'other' })).rejects.toMatchObject({
        code: 'snapshot.unknown',
        message: expect.stringContaining('without cluster "other"'),
      });
    }));
});

describe('inventories', () => {
  test('the newest one counts; the same again makes no new revision', () =>
    withStore(async (store) => {
      const one = parseInventory(families, inventoryText('a'), 'i.yaml');
      const two = parseInventory(families, inventoryText('b'), 'i.yaml');
      expect(await store.inventories.current()).toBeNull();
      const first = await store.inventories.put(one, 'alice');
      expect(await store.inventories.put(one, 'bob')).toEqual(first);
      const second = await store.inventories.put(two, 'bob');
      expect(await store.inventories.current()).toEqual({ ...second, inventory: two });
      expect(await store.inventories.at(1)).toEqual({ ...first, inventory: one });
      expect(await store.inventories.history({ limit: 10 })).toEqual([second, first]);
      expect(await store.inventories.history({ limit: 10, before: 2 })).toEqual([first]);
    }));
});

describe('operations of idempotent requests', () => {
  const name = { principal: 'p', key: 'k' };

  test('one runs at a time, its answer is kept, another payload is told apart', () =>
    withStore(async (store, controlDir) => {
      const { operations } = store;
      expect(await operations.begin({ ...name, payload: 'x' })).toEqual({ kind: 'fresh' });
      const other = await openControlStore({ controlDir });
      expect(await other.operations.begin({ ...name, payload: 'x' })).toEqual({
        kind: 'in-progress',
      });
      expect(await operations.begin({ ...name, payload: 'y' })).toEqual({ kind: 'other-payload' });
      await operations.finish(name, { status: 202, body: '{"id":1}' });
      expect(await other.operations.begin({ ...name, payload: 'x' })).toEqual({
        kind: 'recorded',
        status: 202,
        body: '{"id":1}',
      });
      expect(await operations.begin({ principal: 'q', key: 'k', payload: 'y' })).toEqual({
        kind: 'fresh',
      });
      await other.close();
    }));

  test('what a process left in the middle may be sent again after a restart, or at once when it was forgotten', () =>
    withStore(async (store, controlDir) => {
      await store.operations.begin({ ...name, payload: 'x' });
      await store.operations.forget(name);
      expect(await store.operations.begin({ ...name, payload: 'x' })).toEqual({ kind: 'fresh' });
      await store.close();
      const restarted = await openControlStore({ controlDir });
      expect(await restarted.operations.resolveLeft()).toBe(1);
      expect(await restarted.operations.begin({ ...name, payload: 'x' })).toEqual({
        kind: 'fresh',
      });
      await restarted.close();
    }));

  test('an answer is forgotten after a day', () =>
    withStore(async (store, controlDir) => {
      await store.operations.begin({ ...name, payload: 'x' });
      await store.operations.finish(name, { status: 200, body: '' });
      const database = new Database(join(controlDir, 'control.db'));
      database.exec('UPDATE operation SET begun_at = begun_at - 86400001');
      database.close();
      expect(await store.operations.begin({ ...name, payload: 'y' })).toEqual({ kind: 'fresh' });
    }));
});

function fact(id: string) {
  return { id, by: 'test', action: 'start', subject: 'cluster/kv', reason: '', digests: [] };
}

function inventoryText(name: string): string {
  return `version: 1\nclusters: { ${name}: { members: { n1: { host: m1, source: "local:///d" } } } }`;
}

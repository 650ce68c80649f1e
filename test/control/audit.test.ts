import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import Database from 'libsql';
import { describe, expect, test } from 'vitest';

import { auditLines, verifyExport, verifyStore } from '../../control/audit-verification.ts';
import { openControlStore, type ControlStore } from '../../control/control-store.ts';
import { withStore } from './open-store.ts';

const entry = (id: string, more: object = {}) => ({
  id,
  by: 'alice',
  action: 'start',
  subject: 'cluster/kv',
  reason: 'because',
  digests: ['d1', 'd2'],
  ...more,
});

async function appendMany(store: ControlStore, count: number, from = 0): Promise<void> {
  for (let i = from; i < from + count; i += 1) await store.audit.append(entry(`e${i}`));
}

/** Runs SQL as somebody does who has the database's file. */
function alter(controlDir: string, sql: string): void {
  const database = new Database(join(controlDir, 'control.db'));
  database.exec(sql);
  database.close();
}

describe('the audit trail', () => {
  test('lines follow each other, by whichever process; one id is written once [I18]', () =>
    withStore(async (store, controlDir) => {
      const other = await openControlStore({ controlDir });
      const first = await store.audit.append(entry('a', { role: 'admin' }));
      expect(first).toMatchObject({ seq: 1, role: 'admin', outcome: null });
      expect(await other.audit.append(entry('a'))).toEqual(first);
      const appends = Array.from({ length: 50 }, (_, i) =>
        (i % 2 === 0 ? store : other).audit.append(entry(`b${i}`)),
      );
      const seqs = (await Promise.all(appends)).map(({ seq }) => seq);
      expect(new Set(seqs).size).toBe(50);
      expect(await verifyStore(other)).toMatchObject({ ok: true, lines: 51 });
      await other.close();
    }));

  test('the same id that tells something else is refused, and nothing is written', () =>
    withStore(async (store) => {
      await store.audit.append(entry('a'));
      await expect(store.audit.append(entry('a', { reason: 'another' }))).rejects.toMatchObject({
        code: 'audit.conflict',
      });
      expect(await verifyStore(store)).toMatchObject({ ok: true, lines: 1 });
    }));

  test.each([
    "UPDATE audit SET by = 'mallory'",
    'DELETE FROM audit',
    'REPLACE INTO audit SELECT * FROM audit LIMIT 1',
  ])('the database itself refuses: %s', (sql) =>
    withStore(async (store, controlDir) => {
      await appendMany(store, 3);
      expect(() => alter(controlDir, sql)).toThrow(/audit lines/);
    }),
  );

  test.each([
    ['a line altered', "UPDATE audit SET reason = 'none' WHERE seq = 4", 'line 4: what it says'],
    ['digests altered', "UPDATE audit SET digests = 'x' WHERE seq = 4", 'line 4: what it says'],
    [
      'a time altered',
      "UPDATE audit SET at = '2020-01-01T00:00:00.000Z' WHERE seq = 1",
      'line 1: what it says',
    ],
    ['a line removed', 'DELETE FROM audit WHERE seq = 4', 'line 4: it is numbered 5'],
    [
      'a line removed, the others renumbered',
      'DELETE FROM audit WHERE seq = 4; UPDATE audit SET seq = seq - 1 WHERE seq > 4',
      'line 4: it does not follow',
    ],
    ['the first lines removed', 'DELETE FROM audit WHERE seq < 3', 'line 1: it is numbered 3'],
    ['the end cut off', 'DELETE FROM audit WHERE seq > 7', 'ends with line 7, but'],
    ['everything cut off', 'DELETE FROM audit', 'ends with line 0, but'],
  ])('%s: found, and named', (_what, sql, says) =>
    withStore(async (store, controlDir) => {
      await appendMany(store, 10);
      expect(await verifyStore(store)).toMatchObject({ ok: true, lines: 10 });
      alter(controlDir, `DROP TRIGGER audit_stays; DROP TRIGGER audit_is_kept; ${sql}`);
      const verdict = await verifyStore(store);
      expect(verdict).toMatchObject({ ok: false, problem: expect.stringContaining(says) });
    }),
  );

  test('a database that was put back from before: nothing is written after it until somebody has looked', () =>
    withStore(async (store, controlDir) => {
      await appendMany(store, 5);
      await store.close();
      const backup = join(controlDir, 'backup');
      mkdirSync(backup);
      copyFileSync(join(controlDir, 'control.db'), join(backup, 'control.db'));
      const later = await openControlStore({ controlDir });
      await appendMany(later, 2, 5);
      await later.close();
      rmSync(join(controlDir, 'control.db'));
      copyFileSync(join(backup, 'control.db'), join(controlDir, 'control.db'));
      const restored = await openControlStore({ controlDir });
      await expect(restored.audit.append(entry('new'))).rejects.toMatchObject({
        code: 'audit.broken',
        message: expect.stringContaining('has seen line 7'),
      });
      rmSync(join(controlDir, 'audit.head'));
      expect((await restored.audit.append(entry('new'))).seq).toBe(6);
      expect(await verifyStore(restored)).toMatchObject({ ok: true, lines: 6 });
      await restored.close();
    }));

  test('a head that a power loss tore: the one before it counts; one that cannot be read is said to be so', () =>
    withStore(async (store, controlDir) => {
      await appendMany(store, 5);
      const head = join(controlDir, 'audit.head');
      const torn = readFileSync(head);
      // Line 5 is in the second of two slots of 128 bytes.
      torn.fill(0, 128 + 40);
      writeFileSync(head, torn);
      expect((await store.audit.ends()).kept.seq).toBe(4);
      expect(await verifyStore(store)).toMatchObject({ ok: true, lines: 5 });
      await appendMany(store, 1, 5);
      expect((await store.audit.ends()).kept.seq).toBe(6);
      writeFileSync(head, Buffer.alloc(256));
      expect(await verifyStore(store)).toMatchObject({
        ok: false,
        problem: expect.stringContaining('audit.head is missing'),
      });
    }));

  test('all of it written anew shows against a head that was kept elsewhere, and only there', () =>
    withStore(async (store, controlDir) => {
      await appendMany(store, 5);
      const { head } = await verifyStore(store);
      await store.close();
      for (const name of ['control.db', 'audit.head']) rmSync(join(controlDir, name));
      const forged = await openControlStore({ controlDir });
      await appendMany(forged, 6, 100);
      expect(await verifyStore(forged)).toMatchObject({ ok: true });
      expect(await verifyStore(forged, head)).toMatchObject({
        ok: false,
        problem: expect.stringContaining('line 5'),
      });
      await forged.close();
    }));

  test('an export is verified without the store; what was changed in it is found', () =>
    withStore(async (store, controlDir) => {
      await appendMany(store, 2500);
      const lines: string[] = [];
      for await (const line of auditLines(store)) lines.push(JSON.stringify(line));
      const file = join(controlDir, 'audit.jsonl');
      writeFileSync(file, lines.join('\n'));
      expect(await verifyExport(file)).toEqual(await verifyStore(store));
      writeFileSync(file, lines.join('\n').replace('"e1200"', '"e1201"'));
      expect(await verifyExport(file)).toMatchObject({
        ok: false,
        lines: 1200,
        problem: expect.stringContaining('line 1201'),
      });
      await expect(verifyExport(join(controlDir, 'none'))).rejects.toThrow(/ENOENT/);
    }));

  test('is listed in pages, by who, what, of which subject, and when', () =>
    withStore(async (store) => {
      await store.audit.append(entry('1'));
      await store.audit.append(entry('2', { subject: 'replica/kv/n1', by: 'bob' }));
      await store.audit.append(entry('3', { subject: 'replica/kv2/n1', action: 'stop' }));
      const ids = async (request: object) =>
        (await store.audit.page({ limit: 10, ...request })).map(({ id }) => id);
      expect(await ids({})).toEqual(['1', '2', '3']);
      expect(await ids({ newestFirst: true, limit: 2 })).toEqual(['3', '2']);
      expect(await ids({ newestFirst: true, after: 2 })).toEqual(['1']);
      expect(await ids({ subject: 'replica/kv' })).toEqual(['2']);
      expect(await ids({ by: 'alice', action: 'stop' })).toEqual(['3']);
      expect(await ids({ until: '2020' })).toEqual([]);
      expect(await ids({ since: '2020' })).toHaveLength(3);
    }));

  test('two writers killed again and again: everything they called durable is there, and the chain is whole [I18]', () =>
    withStore(async (store, controlDir) => {
      const durable: string[] = [];
      for (let round = 0; round < 8; round += 1) {
        const writers = ['a', 'b'].map((name) => startWriter(controlDir, `${name}${round}`));
        await Promise.all(writers.map(({ wrote }) => wrote(10 + round * 7)));
        durable.push(...(await Promise.all(writers.map(({ kill }) => kill()))).flat());
        const verdict = await verifyStore(store);
        expect(verdict).toMatchObject({ ok: true, problem: null });
      }
      const present = new Set<string>();
      for await (const { id } of auditLines(store)) present.add(id);
      expect(durable.filter((id) => !present.has(id))).toEqual([]);
      expect(present.size).toBeGreaterThanOrEqual(durable.length);
    }));
});

function startWriter(controlDir: string, name: string) {
  const program = resolve('dist/test/control/audit-writer.js');
  const child = spawn(process.execPath, [program, controlDir, name], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = new Promise((done) => child.once('close', done));
  let output = '';
  let heard = () => {};
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    heard();
  });
  const ids = () => output.split('\n').slice(0, -1);
  return {
    wrote: (count: number) =>
      new Promise<void>((done) => {
        heard = () => (ids().length >= count ? done() : undefined);
        heard();
      }),
    kill: async () => {
      child.kill('SIGKILL');
      await closed;
      return ids();
    },
  };
}

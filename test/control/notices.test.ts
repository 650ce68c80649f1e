import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';

import Database from 'libsql';
import { describe, expect, test } from 'vitest';

import type { ControlStore } from '../../control/control-store.ts';
import { NoticeSender } from '../../control/notice-sender.ts';
import { controlConfigSchema, type NotifyConfig } from '../../schemas/control-config.ts';
import { eventually } from '../e2e/migration-environment.ts';
import { withStore } from './open-store.ts';

const notice = { kind: 'failed', subject: 'cluster/kv', text: 'n2: the probe failed' };

/** Sends by `given` for as long as `work` takes; what it logs. */
async function sending(
  store: ControlStore,
  given: object,
  work: (log: readonly string[]) => Promise<void>,
): Promise<void> {
  const log: string[] = [];
  const { notify } = controlConfigSchema.parse({ notify: given });
  const sender = new NoticeSender({
    store,
    notify: notify as NotifyConfig,
    log: (line) => log.push(line),
  });
  sender.start();
  try {
    await work(log);
  } finally {
    await sender.stop();
  }
}

/** A webhook that answers these, then 204. */
async function webhook(
  answers: number[],
  work: (url: string, got: readonly unknown[]) => Promise<void>,
): Promise<void> {
  const got: unknown[] = [];
  const server: Server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      got.push(JSON.parse(body));
      response.writeHead(answers.shift() ?? 204).end();
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  try {
    await work(`http://127.0.0.1:${port}/hook`, got);
  } finally {
    server.close();
  }
}

describe('notices', () => {
  test('a hook gets each once, on its standard input', () =>
    withStore(async (store, controlDir) => {
      const file = join(controlDir, 'got');
      await store.notices.put({ ...notice, id: 'a' });
      await store.notices.put({ ...notice, id: 'a' });
      await sending(store, { exec: ['sh', '-c', `cat >> ${file}`] }, async (log) => {
        await store.notices.put({ ...notice, id: 'b' });
        const lines = await eventually('both', async () => {
          const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
          return text.split('\n').length === 3 && text.trim().split('\n');
        });
        const told = lines.map((line): unknown => JSON.parse(line));
        expect(told).toMatchObject([
          { ...notice, id: 'a' },
          { ...notice, id: 'b' },
        ]);
        expect(log).toEqual([]);
      });
    }));

  test('a webhook that refuses is asked again, another process too; then it is over', () =>
    withStore((store) =>
      webhook([500, 503], async (webhookUrl, got) => {
        await store.notices.put({ ...notice, id: 'a' });
        await sending(store, { webhook: webhookUrl }, async (log) => {
          await eventually('a first refusal', async () => log.length >= 1);
        });
        await sending(store, { webhook: webhookUrl }, async () => {
          await eventually('the third try', async () => got.length === 3);
        });
        expect(got).toMatchObject([notice, notice, notice]);
        expect(await store.notices.take()).toBeNull();
      }),
    ));

  test.each([
    ['that fails', ['sh', '-c', 'echo no route >&2; exit 3'], /ended with 3: no route/],
    ['that hangs', ['sh', '-c', 'sleep 60 & wait'], /had not ended after 3000 ms/],
    ['that is not there', ['/no/such/hook'], /ENOENT/],
  ])('a hook %s is named, and does not stop the next notice', (_what, exec, says) =>
    withStore(async (store) => {
      await store.notices.put({ ...notice, id: 'a' });
      await store.notices.put({ ...notice, id: 'b' });
      await sending(store, { exec, timeoutSeconds: 3 }, async (log) => {
        await eventually('both failures', async () => log.length >= 2);
        expect(log[0]).toMatch(/^notice of cluster\/kv was not taken \(again in 1 s\): /);
        expect(log[0]).toMatch(says);
      });
    }),
  );

  test('one that is never taken is given up after its last try', () =>
    withStore(async (store, controlDir) => {
      await store.notices.put({ ...notice, id: 'a' });
      const waits: (number | null)[] = [];
      for (let i = 0; i < 9; i += 1) {
        expect(await store.notices.take()).toMatchObject({ id: 'a' });
        waits.push(await store.notices.failed('a', 'no'));
        const database = new Database(join(controlDir, 'control.db'));
        database.exec('UPDATE notice SET due_at = 0 WHERE due_at IS NOT NULL');
        database.close();
      }
      expect(waits.slice(0, 2)).toEqual([1000, 5000]);
      expect(waits.at(-1)).toBeNull();
      expect(await store.notices.take()).toBeNull();
    }));
});

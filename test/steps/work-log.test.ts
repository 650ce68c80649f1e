import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { describe, expect, test } from 'vitest';

import type { Attempt } from '../../activities/agent-context.ts';
import { logged } from '../../activities/work-log.ts';
import { fail } from '../../core/errors.ts';
import type { Log } from '../../core/log.ts';

describe('the log of an agent’s work', () => {
  const failing = async (error: Error, signal = new AbortController().signal) => {
    const lines: Parameters<Log>[] = [];
    const attempt: Attempt = { attempt: 2, taskToken: new Uint8Array(), signal, heartbeat() {} };
    const replica = { cluster: 'kv', member: 'n1' };
    const work = { replica, migrationId: 'm1', what: 'copy', attempt };
    const log: Log = (...line) => void lines.push(line);
    const run = logged(
      log,
      work,
      async () => {
        throw error;
      },
      () => null,
    );
    await expect(run).rejects.toBe(error);
    return lines;
  };

  test('a failure is a warning, with its code', async () => {
    const error = fail('instance.missing', { instance: 'local:///a', actual: 'none' });
    const of = { replica: 'kv/n1', migration: 'm1', what: 'copy', attempt: 2 };
    const line = `kv/n1 m1: copy: attempt 2 failed: ${error.message}`;
    const parts = { ...of, code: 'instance.missing', ms: expect.any(Number) };
    expect(await failing(error)).toEqual([[line, parts, 'warn']]);
    const unknown = await failing(new Error('no'));
    expect(unknown).toMatchObject([
      ['kv/n1 m1: copy: attempt 2 failed: no', { code: null }, 'warn'],
    ]);
  });

  test('what another workflow has taken over, or a wish has stopped, is none', async () => {
    const late = fail('record.superseded', { step: 1, migration: 'm1', actual: 'lease 2' });
    expect((await failing(late))[0]).toHaveLength(2);
    const [line] = await failing(new Error('aborted'), AbortSignal.abort());
    expect(line).toHaveLength(2);
    expect(line?.[0]).toBe('kv/n1 m1: copy: the attempt was stopped');
  });
});

test('a sentence stays one line, whatever it tells of', async () => {
  const file = new URL('../../worker/process-log.js', import.meta.url).href;
  const code = `
    const { processLog } = await import('${file}');
    processLog('agent', 'text')('a reason\\nkv/n2 m2: swap: done', {});
    processLog('agent', 'json')('a reason\\nand more', { replica: 'kv/n1' }, 'warn');
  `;
  const args = ['--input-type=module', '--eval', code];
  const { stderr } = await promisify(execFile)(process.execPath, args);
  const [text, json, rest] = stderr.split('\n');
  expect(text).toBe(String.raw`a reason\u000akv/n2 m2: swap: done`);
  expect(JSON.parse(json ?? '')).toMatchObject({
    level: 'warn',
    process: 'agent',
    message: 'a reason\nand more',
    replica: 'kv/n1',
  });
  expect(rest).toBe('');
});

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

import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { makeHostPlace } from './host-process.ts';
import { replica, started } from './hosts-of-a-test.ts';
import { appendMessage, openReplica, readEntries, stateOf, WriteStream } from './host-session.ts';
import { SteadyWriter } from './steady-writer.ts';

describe('a replica that is written without a pause', () => {
  test('local → rocksdb → sqlite, by an operator: no write fails, all of it is there [CUT-1] [CUT-4] [DUAL-3] [DUAL-9]', async () => {
    const place = await makeHostPlace({ n1: 'local' });
    const { client } = await started(place);
    const writer = new SteadyWriter(client);
    for (const scheme of ['rocksdb', 'sqlite']) {
      const target = `${scheme}://${place.directory}/${scheme}`;
      expect((await replica(place, 'mirror', 'kv/n1', target)).answer['stage']).toBe('dual');
      expect((await replica(place, 'prove', 'kv/n1')).code).toBe(0);
      const { answer } = await replica(place, 'cutover', 'kv/n1');
      expect(answer['primaryLogUri']).toBe(target);
      expect((await replica(place, 'show', 'kv/n1')).answer['stage']).toBe('dual');
      expect((await replica(place, 'finalize', 'kv/n1')).code).toBe(0);
    }
    const last = await writer.stop();
    expect(last).toBeGreaterThan(10n);
    const found = await readEntries(client, 'n1', { first: 1n, last });
    expect(found).toEqual(entriesOf(1n, last));
    expect((await replica(place, 'show', 'kv/n1')).answer['mirror']).toBeUndefined();
  });

  test('the host is killed in dual write, before and after a cutover: both sides go on equal [DUAL-4] [DUAL-5] [I1]', async () => {
    const place = await makeHostPlace({ n1: 'local' });
    let host = await started(place);
    let written = 0n;
    const underLoad = async (work: () => Promise<void>) => {
      const writer = new SteadyWriter(host.client);
      await work();
      await host.end('SIGKILL');
      await writer.done.catch(() => {});
      host = await started(place);
      const { lastIndex } = await stateOf(host.client, 'n1');
      expect(lastIndex).toBeGreaterThanOrEqual(writer.last);
      written = lastIndex;
    };
    await underLoad(async () => {
      const target = `rocksdb://${place.directory}/b`;
      expect((await replica(place, 'mirror', 'kv/n1', target)).code).toBe(0);
    });
    await underLoad(async () => {
      expect((await replica(place, 'prove', 'kv/n1')).code).toBe(0);
      expect((await replica(place, 'cutover', 'kv/n1')).code).toBe(0);
    });
    expect((await replica(place, 'prove', 'kv/n1')).answer['lastIndex']).toBe(String(written));
    const found = await readEntries(host.client, 'n1', { first: 1n, last: written });
    expect(found).toEqual(entriesOf(1n, written));
  });

  test('prove again reads what has changed, --full everything; show tells of the last [EQ-3] [EQ-5]', async () => {
    const place = await makeHostPlace({ n1: 'local' });
    const { client } = await started(place);
    const { epoch } = await openReplica(client, 'n1');
    const stream = new WriteStream(client, 'n1', epoch);
    await stream.until(stream.send(appendMessage(0n, entriesOf(1n, 200n))));
    await stream.end();
    const target = `sqlite://${place.directory}/b`;
    expect((await replica(place, 'mirror', 'kv/n1', target)).code).toBe(0);
    expect((await replica(place, 'show', 'kv/n1')).answer['validation']).toBeUndefined();
    const { answer: first } = await replica(place, 'prove', 'kv/n1');
    const { answer: again } = await replica(place, 'prove', 'kv/n1');
    expect(again['readSince']).toBe(first['readSince']);
    const shown = (await replica(place, 'show', 'kv/n1')).answer['validation'];
    const { readSince, bytesRead } = again;
    expect(shown).toEqual({ at: expect.any(String), readSince, bytesRead });
    const { answer: full } = await replica(place, 'prove', 'kv/n1', '--full');
    expect(full['bytesRead']).toBe(first['bytesRead']);
    expect(full['readSince']).not.toBe(first['readSince']);
    expect(full['digest']).toBe(first['digest']);
  });

  test('a place in use beside fences of this replica: the bootstrap is refused, and the fences stand as before [CUT-7] [BOOT-1]', async () => {
    const place = await makeHostPlace({ n1: 'local' });
    const host = await started(place);
    await openReplica(host.client, 'n1');
    expect((await replica(place, 'mirror', 'kv/n1', `sqlite://${place.directory}/b`)).code).toBe(0);
    for (const step of ['prove', 'cutover', 'finalize']) {
      expect((await replica(place, step, 'kv/n1')).code).toBe(0);
    }
    const fence = await readFile(join(place.directory, 'n1/log'), 'utf8');
    expect(fence).toContain('"quorumshift":"fence"');
    await rm(join(place.directory, 'n1/raft_meta'));
    await mkdir(join(place.directory, 'n1/raft_meta'));
    await writeFile(join(place.directory, 'n1/raft_meta/raft_meta'), 'of somebody else');
    const back = `local://${place.directory}/n1`;
    const refused = await replica(place, 'mirror', 'kv/n1', back);
    expect(refused.stderr).toContain('instance.not-empty');
    expect(await readFile(join(place.directory, 'n1/log'), 'utf8')).toBe(fence);
    await rm(join(place.directory, 'n1/raft_meta'), { recursive: true });
    expect((await replica(place, 'mirror', 'kv/n1', back)).code).toBe(0);
  });

  test('a cutover without a proof, a second mirror, a host that is away: refused by name', async () => {
    const place = await makeHostPlace({ n1: 'local' });
    const host = await started(place);
    await openReplica(host.client, 'n1');
    expect((await replica(place, 'cutover', 'kv/n1')).stderr).toContain('proof.stale');
    expect((await replica(place, 'mirror', 'kv/n1', `sqlite://${place.directory}/b`)).code).toBe(0);
    const second = await replica(place, 'mirror', 'kv/n1', `rocksdb://${place.directory}/c`);
    expect(second.stderr).toContain('record.conflict');
    expect((await replica(place, 'drop', 'kv/n1')).code).toBe(0);
    expect((await replica(place, 'mirror', 'kv/n1', `sqlite://${place.directory}/b`)).code).toBe(0);
    await host.end('SIGTERM');
    const away = await replica(place, 'list');
    expect([away.code, away.stderr.includes('host.unreachable')]).toEqual([7, true]);
  });
});

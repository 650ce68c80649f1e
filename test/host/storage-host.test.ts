import { mkdir, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import type { Mutation } from '../../host/proto/gen/storage_host.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { makeHostPlace, startHost } from './host-process.ts';
import { started } from './hosts-of-a-test.ts';
import {
  appendMessage,
  called,
  codeOf,
  openReplica,
  readEntries,
  replica,
  stateOf,
  WriteStream,
} from './host-session.ts';

const metadata = (term: bigint, vote?: string): Mutation => ({
  truncate: undefined,
  entries: undefined,
  metadata: {
    term,
    ...(vote !== undefined && { votedFor: Buffer.from(vote) }),
    setAuxiliary: new Map([['CurrentTerm', Buffer.from('0000000000000007', 'hex')]]),
    removeAuxiliary: [],
  },
});

describe('a storage host', () => {
  test.each(['local', 'rocksdb', 'sqlite'])(
    '%s: what a session was told is durable is there after kill -9, and the next session replays [I1] [CUT-3] [LOG-5]',
    async (scheme) => {
      const place = await makeHostPlace({ n1: scheme });
      let host = await started(place);
      const { epoch } = await openReplica(host.client, 'n1');
      const stream = new WriteStream(host.client, 'n1', epoch);
      for (let index = 1n; index <= 400n; index += 1n) {
        stream.send(appendMessage(index - 1n, entriesOf(index, index)));
      }
      await stream.until(200n);
      await host.end('SIGKILL');
      await stream.ended;
      const told = stream.acknowledged.at(-1) ?? 0n;
      expect(told).toBeGreaterThanOrEqual(200n);

      host = await started(place);
      const again = await openReplica(host.client, 'n1');
      expect(again.epoch).toBe(epoch + 1n);
      const last = again.state?.lastIndex ?? 0n;
      expect(last).toBeGreaterThanOrEqual(told);
      const replay = new WriteStream(host.client, 'n1', again.epoch);
      replay.send(appendMessage(told, entriesOf(told + 1n, 500n)));
      await replay.until(1n);
      expect(await replay.end()).toBeNull();
      const found = await readEntries(host.client, 'n1', { first: 1n, last: 500n });
      expect(found).toEqual(entriesOf(1n, 500n));
    },
  );

  test('a second session: the first can write no more, and has lost nothing [CUT-3] [I7]', async () => {
    const { client } = await started(await makeHostPlace({ n1: 'local' }));
    const first = await openReplica(client, 'n1');
    const stream = new WriteStream(client, 'n1', first.epoch);
    await stream.until(stream.send(appendMessage(0n, entriesOf(1n, 3n))));
    const second = await openReplica(client, 'n1');
    expect(second.state?.lastIndex).toBe(3n);
    stream.send(appendMessage(3n, entriesOf(4n, 4n)));
    expect(codeOf(await stream.ended)).toBe('session.fenced');
    expect((await stateOf(client, 'n1')).lastIndex).toBe(3n);
  });

  test('a client resumes its session after a restart; not once another has opened since [CUT-3]', async () => {
    const place = await makeHostPlace({ n1: 'local' });
    const host = await started(place);
    const first = await openReplica(host.client, 'n1', { opener: 'a' });
    await host.end('SIGKILL');
    const { client } = await started(place);
    const again = await openReplica(client, 'n1', { opener: 'a', resumes: first.epoch });
    const other = await openReplica(client, 'n1', { opener: 'b' });
    expect([first.epoch, again.epoch, other.epoch]).toEqual([1n, 2n, 3n]);
    const late = openReplica(client, 'n1', { opener: 'a', resumes: again.epoch });
    await expect(late.catch(codeOf)).resolves.toBe('session.fenced');
    const stream = new WriteStream(client, 'n1', other.epoch);
    await stream.until(stream.send(appendMessage(0n, entriesOf(1n, 1n))));
    expect(await stream.end()).toBeNull();
  });

  test('who resumes without a name, or with one that is none, is refused', async () => {
    const { client } = await started(await makeHostPlace({ n1: 'local' }));
    for (const given of [{ resumes: 1n }, { opener: 'two\nlines' }]) {
      const refused = openReplica(client, 'n1', given).catch(codeOf);
      await expect(refused).resolves.toBe('session.invalid-request');
    }
  });

  test('a refused append in a pipeline: what was before it is there, nothing after it [LOG-4]', async () => {
    const { client } = await started(await makeHostPlace({ n1: 'rocksdb' }));
    const { epoch } = await openReplica(client, 'n1');
    const stream = new WriteStream(client, 'n1', epoch);
    stream.send(appendMessage(0n, entriesOf(1n, 3n)));
    stream.send(appendMessage(5n, entriesOf(6n, 7n)));
    stream.send(metadata(9n));
    stream.send(appendMessage(3n, entriesOf(4n, 5n)));
    expect(codeOf(await stream.ended)).toBe('log.gap');
    expect(stream.acknowledged).toEqual([1n]);
    const state = await stateOf(client, 'n1');
    expect([state.lastIndex, state.metadata?.term]).toEqual([3n, 1n]);
  });

  test('a malformed request in a pipeline: nothing after it is applied', async () => {
    const { client } = await started(await makeHostPlace({ n1: 'local' }));
    const { epoch } = await openReplica(client, 'n1');
    const stream = new WriteStream(client, 'n1', epoch);
    const malformed = appendMessage(3n, entriesOf(4n, 4n));
    if (malformed.entries) malformed.entries.canonical = malformed.entries.canonical.subarray(0, 9);
    stream.send(appendMessage(0n, entriesOf(1n, 3n)));
    stream.send(malformed);
    stream.send(metadata(9n));
    expect(codeOf(await stream.ended)).toBe('log.invalid-batch');
    expect(stream.acknowledged).toEqual([1n]);
    const state = await stateOf(client, 'n1');
    expect([state.lastIndex, state.metadata?.term]).toEqual([3n, 1n]);
  });

  test('falling terms, half an entry, no mutation, a sequence that falls: refused, nothing changes', async () => {
    const { client } = await started(await makeHostPlace({ n1: 'local' }));
    const { epoch } = await openReplica(client, 'n1');
    const falling = [...entriesOf(1n, 1n, 3n), ...entriesOf(2n, 2n, 2n)];
    const half = appendMessage(0n, entriesOf(1n, 1n));
    if (half.entries) half.entries.canonical = half.entries.canonical.subarray(0, 20);
    const empty: Mutation = { truncate: undefined, entries: undefined, metadata: undefined };
    for (const [mutation, code] of [
      [appendMessage(0n, falling), 'session.invalid-request'],
      [half, 'log.invalid-batch'],
      [empty, 'session.invalid-request'],
    ] as const) {
      const stream = new WriteStream(client, 'n1', epoch);
      stream.send(mutation);
      expect(codeOf(await stream.ended)).toBe(code);
    }
    expect((await stateOf(client, 'n1')).lastIndex).toBe(0n);
  });

  test('terms below that of the entry before, in the log, in a group, at a snapshot: refused [I5]', async () => {
    const { client } = await started(await makeHostPlace({ n1: 'local' }));
    const { epoch } = await openReplica(client, 'n1');
    const stream = new WriteStream(client, 'n1', epoch);
    stream.send(appendMessage(0n, entriesOf(1n, 3n, 5n)));
    stream.send(appendMessage(3n, entriesOf(4n, 4n, 6n)));
    stream.send(appendMessage(4n, entriesOf(5n, 5n, 5n)));
    expect(codeOf(await stream.ended)).toBe('log.term-falls');
    expect(stream.acknowledged).toEqual([1n, 2n]);
    const replaced = new WriteStream(client, 'n1', epoch);
    const truncate = { $case: 'lastKept', value: 3n } as const;
    replaced.send({ ...appendMessage(3n, entriesOf(4n, 4n, 4n)), truncate });
    expect(codeOf(await replaced.ended)).toBe('log.term-falls');
    expect((await stateOf(client, 'n1')).lastIndex).toBe(4n);
  });

  test.each(['local', 'rocksdb', 'sqlite'])(
    '%s: a term beyond an i64, as hashicorp/raft could save it: refused, and the replica opens again [FAM-10] [LOG-6]',
    async (scheme) => {
      const place = await makeHostPlace({ n1: scheme });
      const host = await started(place);
      const { epoch } = await openReplica(host.client, 'n1');
      const stream = new WriteStream(host.client, 'n1', epoch);
      const currentTerm = new Map([['CurrentTerm', Buffer.from('8000000000000000', 'hex')]]);
      const saved = { setAuxiliary: currentTerm, removeAuxiliary: [] };
      stream.send({ truncate: undefined, entries: undefined, metadata: saved });
      expect(codeOf(await stream.ended)).toBe('limit.exceeded');
      await host.end('SIGTERM');
      const { client } = await started(place);
      expect((await openReplica(client, 'n1')).state?.metadata?.term).toBe(1n);
    },
  );

  test('a refusal that quotes three million bytes: the call ends, with the code', async () => {
    const { client } = await started(await makeHostPlace({ n1: 'local' }));
    const { epoch } = await openReplica(client, 'n1');
    const stream = new WriteStream(client, 'n1', epoch);
    stream.send(metadata(7n, 'x'.repeat(3_000_000)));
    expect(codeOf(await stream.ended)).toBe('limit.exceeded');
  });

  test('an unknown replica, another protocol: refused by name', async () => {
    const { client } = await started(await makeHostPlace({ n1: 'local' }));
    await expect(openReplica(client, 'n2').catch(codeOf)).resolves.toBe('session.unknown-replica');
    const request = {
      replica: replica('n1'),
      client: 'test',
      protocolMajor: 2,
      opener: '',
      resumes: 0n,
    };
    const refused = await called((answer) => client.open(request, answer)).catch(codeOf);
    expect(refused).toBe('session.invalid-request');
  });

  test('the socket is its owner’s alone, and a second host is refused while the first lives', async () => {
    const place = await makeHostPlace({ n1: 'local' });
    await started(place);
    expect((await stat(place.socket)).mode & 0o777).toBe(0o600);
    await expect(startHost(place)).rejects.toThrow('another host listens');
  });

  test('a disk that fails: the code says so, and the next session reads it anew [LOG-8] [I15]', async () => {
    const place = await makeHostPlace({ n1: 'local' });
    const { client } = await started(place);
    const { epoch } = await openReplica(client, 'n1');
    // A directory where the file is to be written.
    const obstacle = join(place.directory, 'n1/raft_meta/quorumshift_meta.tmp');
    await mkdir(obstacle, { recursive: true });
    const stream = new WriteStream(client, 'n1', epoch);
    stream.send(metadata(7n));
    stream.send(appendMessage(0n, entriesOf(1n, 1n)));
    expect(codeOf(await stream.ended)).toBe('io.failed');
    await rmdir(obstacle);
    const again = await openReplica(client, 'n1');
    expect([again.state?.lastIndex, again.state?.metadata?.term]).toEqual([0n, 1n]);
    const next = new WriteStream(client, 'n1', again.epoch);
    await next.until(next.send(metadata(7n)));
    expect(await next.end()).toBeNull();
  });

  test('a replica whose instance is gone is refused alone; it is not made anew [CUT-7]', async () => {
    const place = await makeHostPlace({ n1: 'local', n2: 'local' });
    const host = await started(place);
    const { epoch } = await openReplica(host.client, 'n1');
    const stream = new WriteStream(host.client, 'n1', epoch);
    await stream.until(stream.send(metadata(7n, '127.0.0.1:8300:0')));
    await host.end('SIGTERM');
    const { rename } = await import('node:fs/promises');
    await rename(`${place.directory}/n1`, `${place.directory}/elsewhere`);
    const { client, lines } = await started(place);
    await expect(openReplica(client, 'n1').catch(codeOf)).resolves.toBe('instance.missing');
    expect(lines.join('\n')).toContain('kv/n1 is not served');
    expect((await openReplica(client, 'n2')).epoch).toBe(1n);
  });
});

import { readFile } from 'node:fs/promises';
import { PassThrough } from 'node:stream';

import { describe, expect, test } from 'vitest';

import type {
  Mutation,
  WriteResponse,
  WriteSnapshotRequest,
} from '../../host/proto/gen/storage_host.ts';
import { send } from '../../host/snapshot-streams.ts';
import { makeHostPlace, type HostProcess } from './host-process.ts';
import { started } from './hosts-of-a-test.ts';
import { called, codeOf, openReplica, replica, stateOf, WriteStream } from './host-session.ts';

/** The most memory that the process has had, in MiB. */
async function peakMiB({ child }: HostProcess): Promise<number> {
  const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
}

function writeSnapshot(
  { client }: HostProcess,
  parts: readonly NonNullable<WriteSnapshotRequest['part']>[],
): Promise<WriteResponse> {
  return called((answer) => {
    const call = client.writeSnapshot(answer);
    // The answer says it too.
    call.on('error', () => {});
    for (const part of parts) call.write({ part });
    call.end();
  });
}

describe('a storage host', () => {
  test('takes no more of a session than its window, whatever the requests hold', async () => {
    const host = await started(await makeHostPlace({ n1: 'local' }));
    const { epoch } = await openReplica(host.client, 'n1');
    const stream = new WriteStream(host.client, 'n1', epoch);
    const before = await peakMiB(host);
    const setAuxiliary = new Map([['k', Buffer.alloc(1024 * 1024, 1)]]);
    const metadata = { setAuxiliary, removeAuxiliary: [] };
    const mutation: Mutation = { truncate: undefined, entries: undefined, metadata };
    let last = 0n;
    for (let i = 0; i < 400; i += 1) last = stream.send(mutation);
    await stream.until(last);
    expect((await peakMiB(host)) - before).toBeLessThan(200);
  }, 120_000);

  test('a snapshot whose bytes come before a file, or that ends where none can: refused, nothing changes', async () => {
    const host = await started(await makeHostPlace({ n1: 'rocksdb' }));
    const { epoch } = await openReplica(host.client, 'n1');
    const begin = (lastIncludedIndex: bigint, lastIncludedTerm = 1n) => {
      const rest = { peers: [], oldPeers: [], auxiliary: new Map<string, Buffer>() };
      const metadata = { lastIncludedIndex, lastIncludedTerm, ...rest };
      const value = { replica: replica('n1'), epoch, metadata };
      return { $case: 'begin', value } as const;
    };
    const end = { $case: 'end', value: { sequence: 1n, mutation: undefined } } as const;
    const bytes = { $case: 'bytes', value: Buffer.from('x') } as const;
    for (const parts of [
      [begin(5n), bytes, end],
      [begin(-5n), end],
      [begin(5n, -1n), end],
      [begin(2n ** 63n - 1n), end],
    ]) {
      const refused = writeSnapshot(host, parts).catch(codeOf);
      await expect(refused).resolves.toBe('session.invalid-request');
    }
    expect((await stateOf(host.client, 'n1')).snapshot).toBeUndefined();
  });
});

describe('a message to a slow client', () => {
  test('waits for it, and leaves no listener behind', async () => {
    const slow = Object.assign(new PassThrough({ objectMode: true, highWaterMark: 1 }), {
      cancelled: false,
    });
    const listening = () => ['drain', 'cancelled', 'error'].map((name) => slow.listenerCount(name));
    const before = listening();
    const sent: string[] = [];
    slow.once('readable', () => slow.on('data', (message: string) => sent.push(message)));
    for (const message of ['a', 'b', 'c', 'd']) await send(slow, message);
    expect(sent.length).toBeGreaterThan(0);
    expect(listening()).toEqual(before);
  });
});

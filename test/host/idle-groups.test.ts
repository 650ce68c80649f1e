import { afterEach, describe, expect, test } from 'vitest';

import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { makeHostPlace, startHost, type HostProcess } from './host-process.ts';
import { appendMessage, openReplica, readEntries, WriteStream } from './host-session.ts';

const groups = 1000;
const members = Array.from({ length: groups }, (_, i) => `g${i}`);

let host: HostProcess | null = null;

afterEach(async () => {
  await host?.end('SIGKILL');
});

/** The epochs of a session for each group, all asked for at once. */
async function openAll({ client }: HostProcess): Promise<readonly bigint[]> {
  const opened = await Promise.all(members.map((member) => openReplica(client, member)));
  return opened.map(({ epoch }) => epoch);
}

async function append(to: HostProcess, at: { member: string; epoch: bigint; after: bigint }) {
  const stream = new WriteStream(to.client, at.member, at.epoch);
  const next = at.after + 1n;
  await stream.until(stream.send(appendMessage(at.after, entriesOf(next, next))));
  expect(await stream.end()).toBeNull();
}

describe('a host of a thousand groups', () => {
  test('all are open, one is written; after a kill all come back, and the written one goes on [I1] [CUT-3]', async () => {
    const place = await makeHostPlace(Object.fromEntries(members.map((name) => [name, 'local'])));
    host = await startHost(place);
    expect(await openAll(host)).toEqual(members.map(() => 1n));
    await append(host, { member: 'g500', epoch: 1n, after: 0n });
    await host.end('SIGKILL');
    host = await startHost(place);
    expect(await openAll(host)).toEqual(members.map(() => 2n));
    await append(host, { member: 'g500', epoch: 2n, after: 1n });
    const found = await readEntries(host.client, 'g500', { first: 1n, last: 2n });
    expect(found).toEqual(entriesOf(1n, 2n));
    await host.end('SIGTERM');
  }, 120_000);
});

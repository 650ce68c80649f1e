import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

import { credentials } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';

import type { StorageHostClient, WriteResponse } from '../../host/proto/gen/storage_host.ts';
import {
  StorageHostAdminClient,
  type ListResponse,
} from '../../host/proto/gen/storage_host_admin.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { runCli } from '../cli/run-cli.ts';
import { makeHostPlace } from './host-process.ts';
import { started } from './hosts-of-a-test.ts';
import {
  appendMessage,
  beginSnapshot,
  called,
  codeOf,
  openReplica,
  replica,
} from './host-session.ts';

const readerProgram = fileURLToPath(new URL('./stopped-reader.js', import.meta.url));
/** How many parts the latest snapshot has; or why it is not to be had. */
async function partsOf(client: StorageHostClient): Promise<number | string> {
  let parts = 0;
  try {
    for await (const _ of client.readSnapshot({ replica: replica('n1') })) parts += 1;
    return parts;
  } catch (error) {
    return codeOf(error);
  }
}

async function isStopped(pid: number | undefined): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')')).startsWith(') T');
}

async function streamsUnderWay(admin: StorageHostAdminClient): Promise<number> {
  const { host } = await called<ListResponse>((answer) => admin.list({}, answer));
  return host?.snapshotStreams ?? 0;
}

async function withEntries(client: StorageHostClient): Promise<bigint> {
  const { epoch } = await openReplica(client, 'n1');
  const mutation = appendMessage(0n, entriesOf(1n, 5n));
  const request = { replica: replica('n1'), epoch, sequence: 1n, mutation };
  await called<WriteResponse>((answer) => client.writeOne(request, answer));
  return epoch;
}

describe('streams of snapshots', () => {
  test('one that stands still is ended after the limit; then the mirror can begin', async () => {
    const place = await makeHostPlace({ n1: 'local' }, () => ({
      snapshotStreams: { idleMs: 300 },
    }));
    const { client } = await started(place);
    const epoch = await withEntries(client);
    expect(await beginSnapshot(client, 'n1', epoch).end).toBe('session.stream-idle');
    // Dual write waits for every snapshot that is being written.
    const args = ['mirror', 'kv/n1', `rocksdb://${place.directory}/b`];
    expect((await runCli(['replica', ...args, '--socket', place.adminSocket])).code).toBe(0);
  });

  test('more than may be at once: refused by name, until one has ended', async () => {
    const place = await makeHostPlace({ n1: 'local' }, () => ({ snapshotStreams: { most: 1 } }));
    const { client } = await started(place);
    const epoch = await withEntries(client);
    const first = beginSnapshot(client, 'n1', epoch);
    // The host has the first one once it refuses another.
    while ((await partsOf(client)) !== 'session.too-many-streams') continue;
    first.give({ $case: 'end', value: { sequence: 9n, mutation: undefined } });
    expect(await first.end).toBe('published as 9');
    expect(await partsOf(client)).toBeGreaterThan(2);
  });

  test('one that is not read on: ended after the limit', async () => {
    const place = await makeHostPlace({ n1: 'local' });
    const writing = await started(place);
    const written = beginSnapshot(writing.client, 'n1', await withEntries(writing.client));
    // More than the host may have on its way to a client that takes nothing.
    for (let i = 0; i < 48; i += 1)
      written.give({ $case: 'bytes', value: Buffer.alloc(1024 ** 2) });
    written.give({ $case: 'end', value: { sequence: 2n, mutation: undefined } });
    expect(await written.end).toBe('published as 2');
    await writing.end('SIGTERM');
    const config = JSON.parse(await readFile(place.config, 'utf8')) as Record<string, unknown>;
    await writeFile(place.config, JSON.stringify({ ...config, snapshotStreams: { idleMs: 300 } }));
    await started(place);
    const admin = new StorageHostAdminClient(
      `unix:${place.adminSocket}`,
      credentials.createInsecure(),
    );
    const reader = spawn(process.execPath, [readerProgram, place.socket], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    while (!(await isStopped(reader.pid))) continue;
    while ((await streamsUnderWay(admin)) > 0) continue;
    reader.kill('SIGCONT');
    expect(await text(reader.stdout)).toBe('session.stream-idle\n');
    admin.close();
  });

  test('one whose session was fenced meanwhile: ended at its next message', async () => {
    const place = await makeHostPlace({ n1: 'local' });
    const { client } = await started(place);
    const begun = beginSnapshot(client, 'n1', await withEntries(client));
    await openReplica(client, 'n1');
    begun.give({ $case: 'bytes', value: Buffer.from('late') });
    expect(await begun.end).toBe('session.fenced');
  });

  test('one whose mutation is refused: the next one is published, and the mirror can begin', async () => {
    const place = await makeHostPlace({ n1: 'local' });
    const { client } = await started(place);
    const epoch = await withEntries(client);
    const refused = beginSnapshot(client, 'n1', epoch);
    const gap = { ...appendMessage(99n, entriesOf(100n, 100n)) };
    refused.give({ $case: 'end', value: { sequence: 2n, mutation: gap } });
    expect(await refused.end).toBe('log.gap');
    const args = ['mirror', 'kv/n1', `rocksdb://${place.directory}/b`];
    expect((await runCli(['replica', ...args, '--socket', place.adminSocket])).code).toBe(0);
    const next = beginSnapshot(client, 'n1', epoch);
    next.give({ $case: 'end', value: { sequence: 3n, mutation: undefined } });
    expect(await next.end).toBe('published as 3');
  });
});

import { once } from 'node:events';
import { readdir, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { afterEach, describe, expect, test } from 'vitest';

import type { WriteResponse } from '../../host/proto/gen/storage_host.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { runCli } from '../cli/run-cli.ts';
import { makeHostPlace, startHost, type HostPlace, type HostProcess } from './host-process.ts';
import { appendMessage, beginSnapshot, called, openReplica, replica } from './host-session.ts';

const killedHost = fileURLToPath(new URL('./killed-host.js', import.meta.url));
const running: HostProcess[] = [];

afterEach(async () => {
  for (const host of running.splice(0)) await host.end('SIGTERM');
});

async function started(place: HostPlace, command?: readonly string[]): Promise<HostProcess> {
  const host = await startHost(place, command === undefined ? {} : { command });
  running.push(host);
  return host;
}

/** Inode of the snapshot's file under this name in a side's directory; null where it is not. */
async function inodeIn(place: HostPlace, side: 'n1' | 'b', name: string): Promise<number | null> {
  const path = `${place.directory}/${side}/snapshot/${name}/data`;
  const found = await stat(path).catch(() => null);
  return found?.ino ?? null;
}

/** Dual write of five entries; then the host is killed while a snapshot of three is published. */
async function killedInPublishing(side: 'n1' | 'b'): Promise<HostPlace> {
  const place = await makeHostPlace({ n1: 'local' });
  const host = await started(place);
  const { epoch } = await openReplica(host.client, 'n1');
  const mutation = appendMessage(0n, entriesOf(1n, 5n));
  const request = { replica: replica('n1'), epoch, sequence: 1n, mutation };
  await called<WriteResponse>((answer) => host.client.writeOne(request, answer));
  const target = `local://${place.directory}/b`;
  const { code } = await runCli([
    'replica',
    'mirror',
    'kv/n1',
    target,
    '--socket',
    place.adminSocket,
  ]);
  expect(code).toBe(0);
  await host.end('SIGTERM');
  const fatal = `${place.directory}/${side}/snapshot/temp`;
  const doomed = await started(place, [killedHost, place.config, fatal]);
  const ended = once(doomed.child, 'exit');
  const again = await openReplica(doomed.client, 'n1');
  const snapshot = beginSnapshot(doomed.client, 'n1', again.epoch);
  snapshot.give({ $case: 'end', value: { sequence: 1n, mutation: undefined } });
  expect(await ended).toEqual([null, 'SIGKILL']);
  return place;
}

const published = 'snapshot_00000000000000000003';

describe('a host that is killed with -9 while a snapshot is being published', () => {
  test('after the primary published it: the mirror publishes the very files that it had prepared [DUAL-7] [DUAL-4]', async () => {
    const place = await killedInPublishing('b');
    expect(await inodeIn(place, 'n1', published)).not.toBeNull();
    const prepared = await inodeIn(place, 'b', 'temp');
    expect(prepared).not.toBeNull();
    await started(place);
    expect(await inodeIn(place, 'b', published)).toBe(prepared);
    const args = ['replica', 'prove', 'kv/n1', '--socket', place.adminSocket];
    expect((await runCli(args)).code).toBe(0);
  });

  test('before the primary published it: both discard it, and the next one is taken [DUAL-7]', async () => {
    const place = await killedInPublishing('n1');
    const host = await started(place);
    for (const side of ['n1', 'b'] as const) {
      expect(await readdir(`${place.directory}/${side}/snapshot`)).toEqual([]);
    }
    const { epoch } = await openReplica(host.client, 'n1');
    const next = beginSnapshot(host.client, 'n1', epoch);
    next.give({ $case: 'end', value: { sequence: 1n, mutation: undefined } });
    expect(await next.end).toBe('published as 1');
    for (const side of ['n1', 'b'] as const) {
      expect(await inodeIn(place, side, published)).not.toBeNull();
    }
  });
});

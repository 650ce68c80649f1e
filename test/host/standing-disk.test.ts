import { credentials } from '@grpc/grpc-js';
import { describe, expect, onTestFinished, test } from 'vitest';

import { StorageHostClient } from '../../host/proto/gen/storage_host.ts';
import { StorageHost } from '../../host/storage-host.ts';
import { readConfiguration } from '../../schemas/configuration-file.ts';
import { hostConfigSchema } from '../../schemas/host-config.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import type { FileLayer } from '../../storage/file-layer.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { StandingFiles } from '../replication/standing-files.ts';
import { makeHostPlace, type HostPlace } from './host-process.ts';
import { appendMessage, called, codeOf, openReplica, replica, stateOf } from './host-session.ts';
import { replica as operator } from './hosts-of-a-test.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';

/** Long enough for a disk that answers. */
const patienceMs = 6000;

/** A host in this process, on disks that can stand still or fail. */
async function hostAt(place: HostPlace) {
  const standing = new StandingFiles(nodeFileLayer);
  const closing = { fails: null as RegExp | null };
  const config = await readConfiguration(place.config, hostConfigSchema);
  const lines: string[] = [];
  const client = new StorageHostClient(`unix:${place.socket}`, credentials.createInsecure());
  onTestFinished(() => client.close());
  const start = () => {
    const log = (line: string) => void lines.push(line);
    const families = defaultFamilies();
    const files = unclosable(standing.layer, closing);
    return StorageHost.start({ config, files, families, log, patienceMs });
  };
  return { standing, closing, lines, client, start };
}

/** Files whose closing fails, once it does. */
function unclosable(files: FileLayer, closing: { readonly fails: RegExp | null }): FileLayer {
  const open: FileLayer['open'] = async (path, ...how) => {
    const file = await files.open(path, ...how);
    const close = file.close.bind(file);
    file.close = async () => {
      await close();
      if (closing.fails?.test(path)) throw new Error('EIO: i/o error, close');
    };
    return file;
  };
  return { ...files, open };
}

const members = { n1: 'local', n2: 'local', n3: 'local' };

describe('one replica whose disk does not answer', () => {
  test.each([
    ['known', true],
    ['not known yet', false],
  ])(
    'while it is opened, %s: the host serves the others, and refuses it by name until it is open',
    async (_, isKnown) => {
      const place = await makeHostPlace(members);
      const { standing, lines, client, start } = await hostAt(place);
      if (isKnown) expect(await (await start()).stop()).toEqual([]);
      standing.stand(new RegExp(`^(open|list|stat|makeDirectory) ${place.directory}/n2(/|$)`));
      const host = await start();
      expect((await stateOf(client, 'n1')).firstIndex).toBe(1n);
      expect((await stateOf(client, 'n3')).firstIndex).toBe(1n);
      const refused = await openReplica(client, 'n2').then(() => 'opened', codeOf);
      expect(refused).toBe('replica.opening');
      expect((await operator(place, 'show', 'kv/n2')).answer['refusal']).toContain(
        'has been opening',
      );
      expect(lines.join('\n')).toContain('kv/n2 is not served yet');
      standing.goOn();
      await expect
        .poll(() => openReplica(client, 'n2').then(() => 'opened', codeOf), { timeout: 60_000 })
        .toBe('opened');
      expect(await host.stop()).toEqual([]);
    },
  );

  test('while its host stops: the others are closed, and it is said which is not', async () => {
    const place = await makeHostPlace(members);
    const { standing, lines, client, start } = await hostAt(place);
    const host = await start();
    const { epoch } = await openReplica(client, 'n2');
    standing.stand(/^(write|sync) .*\/n2\/log/);
    const mutation = appendMessage(0n, entriesOf(1n, 1n));
    const request = { replica: replica('n2'), epoch, sequence: 1n, mutation };
    const append = called((answer) => client.writeOne(request, answer)).catch(codeOf);
    await standing.arrived();
    expect(await host.stop()).toEqual(['kv/n2']);
    expect(lines.join('\n')).toContain('kv/n2 was not closed');
    await append;
    // What is closed is free for another host.
    const other = await start();
    expect((await stateOf(client, 'n1')).firstIndex).toBe(1n);
    expect((await stateOf(client, 'n3')).firstIndex).toBe(1n);
    expect(await openReplica(client, 'n2').then(() => 'opened', codeOf)).toBe('instance.locked');
    standing.goOn();
    expect(await other.stop()).toEqual([]);
  });

  test('or cannot be closed: the others are, and it is said which could not', async () => {
    const place = await makeHostPlace(members);
    const { closing, lines, client, start } = await hostAt(place);
    const host = await start();
    const { epoch } = await openReplica(client, 'n2');
    const mutation = appendMessage(0n, entriesOf(1n, 1n));
    const request = { replica: replica('n2'), epoch, sequence: 1n, mutation };
    await called((answer) => client.writeOne(request, answer));
    closing.fails = new RegExp(`^${place.directory}/n2/log`);
    expect(await host.stop()).toEqual([]);
    expect(lines.join('\n')).toContain('kv/n2 could not be closed as it should: EIO');
    closing.fails = null;
    const other = await start();
    for (const member of ['n1', 'n2', 'n3']) await openReplica(client, member);
    await other.stop();
  });
});

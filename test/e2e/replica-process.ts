/**
 * A small replica built on the library: `node replica-process.js <configuration file>`. Its
 * configuration names an instance; it votes and appends there, over HTTP on a unix socket.
 */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';

import type { Instance, InstanceUris } from '../../storage/contracts.ts';
import { batchOf, EntryType } from '../../storage/entry-batch.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';

interface ReplicaConfiguration {
  readonly uris: InstanceUris;
  readonly socket: string;
  readonly pidFile: string;
}

const configuration: ReplicaConfiguration = JSON.parse(
  await readFile(process.argv[2] ?? '', 'utf8'),
);
const instance = await defaultFamilies().open(configuration.uris, 'read-write', {
  files: nodeFileLayer,
});
await rm(configuration.socket, { force: true });
createServer((request, response) => {
  answer(instance, request.url ?? '/').then(
    (value) => response.end(JSON.stringify(value)),
    (error: unknown) => response.writeHead(500).end(String(error)),
  );
}).listen(configuration.socket);
await writeFile(configuration.pidFile, String(process.pid));

async function answer(replica: Instance, url: string): Promise<Record<string, string>> {
  const { pathname, searchParams } = new URL(url, 'http://replica');
  const { lastIndex, meta } = replica.state();
  if (pathname === '/append') {
    const payload = Buffer.from(searchParams.get('value') ?? '');
    const index = lastIndex + 1n;
    const entry = { index, term: meta.term, type: EntryType.DATA, payload };
    await replica.apply({ entries: { after: lastIndex, batches: [batchOf([entry])] } });
    return { index: String(index) };
  }
  if (pathname === '/vote') {
    const term = meta.term + 1n;
    const votedFor = Buffer.from(searchParams.get('for') ?? '');
    await replica.apply({ meta: { term, votedFor } });
    return { term: String(term) };
  }
  return { log: replica.uris.log, lastIndex: String(lastIndex), term: String(meta.term) };
}

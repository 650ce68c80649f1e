/**
 * A small replica built on the library: `node replica-process.js <configuration file>`. Its
 * configuration names an instance; it votes and appends there, over HTTP on a unix socket.
 */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';

import type { Instance, InstanceUris } from '../../storage/contracts.ts';
import { batchOf, entryAt, EntryType } from '../../storage/entry-batch.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';

export interface ReplicaConfiguration {
  readonly uris: InstanceUris;
  readonly socket: string;
  readonly pidFile: string;
}

const configuration: ReplicaConfiguration = JSON.parse(
  await readFile(process.argv[2] ?? '', 'utf8'),
);
// Before anything is opened: whoever holds the storage can be found by this file, and stopped.
await writeFile(configuration.pidFile, String(process.pid));
const instance = await defaultFamilies().open(configuration.uris, 'read-write', {
  files: nodeFileLayer,
});
await rm(configuration.socket, { force: true });
createServer((request, response) => {
  answer(instance, new URL(request.url ?? '/', 'http://replica')).then(
    (given) => response.end(JSON.stringify(given)),
    (error: unknown) => response.writeHead(500).end(String(error)),
  );
}).listen(configuration.socket);

type Answer = Readonly<Record<string, string>>;

async function answer(replica: Instance, { pathname, searchParams }: URL): Promise<Answer> {
  if (pathname === '/append') return append(replica, searchParams.get('value') ?? '');
  if (pathname === '/vote') return vote(replica, searchParams.get('for') ?? '');
  if (pathname === '/value') return value(replica, BigInt(searchParams.get('index') ?? '0'));
  const { firstIndex, lastIndex, meta } = replica.state();
  return {
    log: replica.uris.log,
    version: process.env['REPLICA_VERSION'] ?? '',
    firstIndex: String(firstIndex),
    lastIndex: String(lastIndex),
    term: String(meta.term),
    votedFor: Buffer.from(meta.votedFor ?? []).toString(),
  };
}

/** What is answered is durable: it counts as acknowledged. */
async function append(replica: Instance, text: string): Promise<Answer> {
  const { lastIndex, meta } = replica.state();
  const index = lastIndex + 1n;
  const entry = { index, term: meta.term, type: EntryType.DATA, payload: Buffer.from(text) };
  await replica.apply({ entries: { after: lastIndex, batches: [batchOf([entry])] } });
  return { index: String(index) };
}

/** The same: a vote that was answered must never be forgotten. */
async function vote(replica: Instance, candidate: string): Promise<Answer> {
  const term = replica.state().meta.term + 1n;
  await replica.apply({ meta: { term, votedFor: Buffer.from(candidate) } });
  return { term: String(term) };
}

async function value(replica: Instance, index: bigint): Promise<Answer> {
  for await (const batch of replica.read(index, index)) {
    return { value: Buffer.from(entryAt(batch, 0).payload).toString() };
  }
  throw new RangeError(`no entry ${index}`);
}

/**
 * The main job on real input, on a fresh machine: a replica that real braft wrote (its node was
 * killed) moves from braft's files to RocksDB by a Temporal workflow with an embedded server.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import pc from 'picocolors';

import { MigrationClient } from '../client/migration-client.ts';
import { contractVersion } from '../core/ids.ts';
import { agentConfigSchema } from '../schemas/agent-config.ts';
import { migrationInputSchema } from '../schemas/migration.ts';
import { digestInstance } from '../storage/equivalence/state-digest.ts';
import { defaultFamilies } from '../storage/families/registry.ts';
import { nodeFileLayer } from '../storage/node-file-layer.ts';
import { startDev } from '../worker/dev.ts';
import { connectClient } from '../worker/temporal-connection.ts';
import { printError } from './output.ts';
import { identity } from './temporal-options.ts';

const fixture = fileURLToPath(
  new URL('../../test/fixtures/braft/node-killed.tar.gz', import.meta.url),
);

/** Frequent enough that a short migration is seen to pass its phases. */
const watchIntervalMs = 200;

async function quickstart(): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'quorumshift-quickstart-'));
  const data = join(root, 'data');
  await mkdir(join(data, 'a'), { recursive: true });
  await promisify(execFile)('tar', ['xzf', fixture, '-C', join(data, 'a')]);
  const source = `local://${join(data, 'a')}`;
  const target = `rocksdb://${join(data, 'b')}`;
  say(`a replica that braft wrote, its node killed: ${source}`);
  const before = await digestOf(source);
  say(`its state has the digest ${before}`);

  const config = agentConfigSchema.parse({
    host: 'quickstart',
    stateDir: join(root, 'state'),
    roots: [data],
    reserveBytes: 0,
    // A directory made just now for this user alone: nobody else's process is in it.
    mayNotLook: 'pass-over',
  });
  const dev = await startDev({ config, log: say });
  try {
    say(`Temporal is at ${dev.address}`);
    const connection = await connectClient(dev);
    const client = new MigrationClient({ client: connection, identity: identity() });
    await migrate(client, source, target);
    await connection.connection.close();
  } finally {
    await dev.stop();
  }
  const after = await digestOf(target);
  say(`read back from ${target}: ${after}`);
  if (after !== before) throw new Error(`the digests differ: ${before} and ${after}`);
  say(pc.green('the same state, verified, now in RocksDB'));
  say(`look at it: node bin/quorumshift.mjs inspect ${target}`);
  say(`its audit trail: ${join(root, 'state', 'replicas', 'kv', 'n1', 'journal.jsonl')}`);
}

async function migrate(client: MigrationClient, source: string, target: string): Promise<void> {
  const families = defaultFamilies();
  const replica = { cluster: 'kv', member: 'n1' };
  await client.start(
    migrationInputSchema.parse({
      contractVersion,
      migrationId: 'quickstart',
      replica,
      host: 'quickstart',
      source: families.expand(source),
      target: families.expand(target),
      policy: { finalize: 'auto' },
      standalone: { by: identity(), note: 'the only replica of its group' },
      requestedBy: identity(),
    }),
  );
  let shown = 0;
  for await (const report of client.watch(replica, { intervalMs: watchIntervalMs })) {
    const results = report.status?.results ?? [];
    for (const { did, outcome } of results.slice(shown)) say(`  ${outcome.padEnd(5)} ${did}`);
    shown = results.length;
  }
  const { outcome } = await client.result(replica);
  say(`the migration has ended: ${outcome}`);
}

async function digestOf(uri: string): Promise<string> {
  const families = defaultFamilies();
  const instance = await families.open(families.expand(uri), 'read-only', {
    files: nodeFileLayer,
  });
  try {
    return (await digestInstance(instance)).root;
  } finally {
    await instance.close();
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

try {
  await quickstart();
} catch (error) {
  process.exitCode = printError('text', error);
}

/**
 * The main job on real input, on a fresh machine: a replica that real braft wrote (its node was
 * killed) moves from braft's files to RocksDB by a Temporal workflow with an embedded server. In
 * the middle of the copy the agent is killed with -9; a new one goes on.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
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
import { connectClient, type TemporalTarget } from '../worker/temporal-connection.ts';
import { printError } from './output.ts';
import { identity } from './identity.ts';

const fixture = fileURLToPath(
  new URL('../../test/fixtures/braft/node-killed.tar.gz', import.meta.url),
);

const program = fileURLToPath(new URL('../../bin/quorumshift.mjs', import.meta.url));

/** The fixture has 250 kB: slow enough that its copy can be seen, and killed. */
const slowBytesPerSecond = 64 * 1024;

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

  const settings = {
    host: 'quickstart',
    stateDir: join(root, 'state'),
    roots: [data],
    reserveBytes: 0,
    // A directory made just now for this user alone: nobody else's process is in it.
    mayNotLook: 'pass-over',
  };
  const configFile = join(root, 'agent.json');
  await writeFile(configFile, JSON.stringify(settings));
  const config = agentConfigSchema.parse(settings);
  const dev = await startDev({ config, log: say, agent: false });
  const startAgent = () => spawnAgent(configFile, dev);
  let agent = await startAgent();
  try {
    say(`Temporal is at ${dev.address}; the agent has pid ${agent.pid}`);
    const connection = await connectClient(dev);
    const client = new MigrationClient({ client: connection, identity: identity() });
    await migrate(client, { source, target }, async () => {
      say(pc.yellow(`  kill -9 ${agent.pid}: the agent dies in the middle of the copy`));
      agent.kill('SIGKILL');
      agent = await startAgent();
      say(`  a new agent has pid ${agent.pid}`);
    });
    await connection.connection.close();
  } finally {
    agent.kill('SIGTERM');
    await dev.stop();
  }
  const after = await digestOf(target);
  say(`read back from ${target}: ${after}`);
  if (after !== before) throw new Error(`the digests differ: ${before} and ${after}`);
  say(pc.green('the same state, verified, now in RocksDB'));
  say(`look at it: node bin/quorumshift.mjs inspect ${target}`);
  say(`its audit trail: ${join(root, 'state', 'replicas', 'kv', 'n1', 'journal.jsonl')}`);
}

async function migrate(
  client: MigrationClient,
  { source, target }: { readonly source: string; readonly target: string },
  killAgent: () => Promise<void>,
): Promise<void> {
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
      policy: { finalize: 'auto', bytesPerSecond: slowBytesPerSecond },
      standalone: { by: identity(), note: 'the only replica of its group' },
      requestedBy: identity(),
    }),
  );
  let shown = 0;
  let killed = false;
  for await (const report of client.watch(replica, { intervalMs: watchIntervalMs })) {
    const results = report.status?.results ?? [];
    for (const { did, outcome } of results.slice(shown)) say(`  ${outcome.padEnd(5)} ${did}`);
    shown = results.length;
    if (killed || (report.progress?.bytesDone ?? 0) === 0) continue;
    killed = true;
    await killAgent();
    await client.throttle(replica, null);
  }
  const { outcome } = await client.result(replica);
  say(`the migration has ended: ${outcome}`);
}

/** Resolves when the agent says that it is ready. */
async function spawnAgent(configFile: string, temporal: TemporalTarget): Promise<ChildProcess> {
  const child = spawn(process.execPath, [program, 'agent', '--config', configFile], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      ...process.env,
      TEMPORAL_ADDRESS: temporal.address,
      TEMPORAL_NAMESPACE: temporal.namespace,
    },
  });
  await new Promise<void>((ready, reject) => {
    let heard = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      heard += text;
      if (heard.includes('is ready')) ready();
    });
    child.once('exit', () => reject(new Error(`the agent has ended: ${heard}`)));
  });
  return child;
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

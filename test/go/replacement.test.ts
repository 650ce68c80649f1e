import { copyFile, readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';

import { afterEach, describe, expect, test } from 'vitest';

import { migrationInputSchema } from '../../schemas/migration.ts';
import { readAgentConfig } from '../../worker/agent-configuration.ts';
import { eventually, MigrationEnvironment } from '../e2e/migration-environment.ts';
import { missing } from '../setup/toolchain.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { KvCluster } from './kv-cluster.ts';
import { hasAll, KvWriter } from './kv-writer.ts';

let cluster: KvCluster | null = null;
let machine: MigrationEnvironment | null = null;

afterEach(async () => {
  await machine?.close();
  await cluster?.stop();
  machine = null;
  cluster = null;
});

describe.skipIf(missing('go') || missing('temporal'))('a node of a real cluster', () => {
  test('gets another program under load, rejoins with it, and goes back to the one of before; every acknowledged write is there [ROLL-1] [ROLL-4] [ROLL-5]', async () => {
    const kv = await KvCluster.start();
    cluster = kv;
    const [first = ''] = kv.nodes;
    await kv.until('the cluster commits', () => kv.write(first, 'first', 'value'));
    const directory = kv.directory('n1');
    const before = await realpath(join(directory, 'program'));
    const next = join(directory, 'program-next');
    await copyFile(before, next);
    const agent = await agentOf(kv);
    const writer = new KvWriter(kv, 'k');

    const input = agent.input({ source: agent.uri('local', 'storage'), target: 'local:///none' });
    const { source } = input;
    const replacement = migrationInputSchema.parse({
      ...input,
      target: source,
      mode: 'binary',
      policy: { ...input.policy, finalize: 'manual' },
    });
    await agent.client.start(replacement);
    await eventually('the soak', async () => {
      const { run, status, failure } = await agent.client.status(agent.replica);
      if (run !== 'running') throw new Error(failure ?? `it has ended: ${status?.outcome}`);
      if (status?.waiting?.kind === 'failed') throw new Error(status.waiting.reason);
      return status?.waiting?.kind === 'finalize';
    });
    expect(await programOf(directory)).toBe(next);
    expect((await kv.status(first)).state).toMatch(/Follower|Leader/);

    await agent.client.rollback(agent.replica, 'test');
    expect(await agent.outcome()).toMatchObject({ outcome: 'rolled-back' });
    expect(await programOf(directory)).toBe(before);

    await writer.stop();
    expect(writer.acknowledged.length).toBeGreaterThan(20);
    await hasAll(kv, writer.acknowledged);
  }, 180_000);
});

/** An agent beside n1 and its host, with the hooks that the launcher has written for it. */
async function agentOf(kv: KvCluster): Promise<MigrationEnvironment> {
  const directory = kv.directory('n1');
  const { hooks, stateDir, hostAdminSocket } = await readAgentConfig(join(directory, 'agent.json'));
  const made = await MigrationEnvironment.create({
    ...(await sharedTemporal()),
    hooks: () => hooks,
    at: {
      replica: { cluster: 'kv', member: 'n1' },
      data: directory,
      stateDir,
      adminSocket: hostAdminSocket,
    },
  });
  machine = made;
  await Promise.all([made.start('agent'), made.start('control')]);
  return made;
}

/** The file that the node's process runs. */
async function programOf(directory: string): Promise<string> {
  const pid = (await readFile(join(directory, 'node.pid'), 'utf8')).trim();
  return realpath(`/proc/${pid}/exe`);
}

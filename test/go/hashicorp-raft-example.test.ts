import { join } from 'node:path';

import { afterEach, describe, expect, test } from 'vitest';

import { runCli } from '../cli/run-cli.ts';
import { missing } from '../setup/toolchain.ts';
import { KvCluster } from './kv-cluster.ts';
import { hasAll, KvWriter } from './kv-writer.ts';

let cluster: KvCluster | null = null;

afterEach(async () => {
  await cluster?.stop();
  cluster = null;
});

/** `quorumshift replica <…>` at the host of this node. */
async function replica(kv: KvCluster, node: string, ...args: readonly string[]): Promise<void> {
  const socket = join(kv.directory(node), 'host-admin.sock');
  const [command = '', ...rest] = args;
  const { code, stderr } = await runCli([
    'replica',
    command,
    `kv/${node}`,
    ...rest,
    '--socket',
    socket,
  ]);
  expect(code, stderr).toBe(0);
}

describe.skipIf(missing('go'))('the hashicorp/raft example', () => {
  test('hosts and nodes are killed under load: it goes on, and no acknowledged write is lost [I1]', async () => {
    const kv = await KvCluster.start();
    cluster = kv;
    const [first = ''] = kv.nodes;
    await kv.until('the cluster commits', () => kv.write(first, 'first', 'value of first'));
    const writers = ['a', 'b', 'c'].map((name) => new KvWriter(kv, name));
    const acknowledged = () => ['first', ...writers.flatMap((writer) => writer.acknowledged)];
    for (const name of kv.names) {
      await kv.kill(name);
      const before = acknowledged().length;
      await kv.until(`commits after ${name} was killed`, async () => {
        return acknowledged().length >= before + 20;
      });
    }
    await Promise.all(writers.map((writer) => writer.stop()));
    await hasAll(kv, acknowledged());
    const { pids } = kv;
    expect(await kv.stop()).toBe(0);
    for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  }, 240_000);

  test('every node moves to every other family while it is written, and is killed on the last: no acknowledged write is lost [CUT-1] [CUT-4] [DUAL-3] [ROLL-4] [ROLL-5] [I1]', async () => {
    const kv = await KvCluster.start();
    cluster = kv;
    const [first = ''] = kv.nodes;
    await kv.until('the cluster commits', () => kv.write(first, 'first', 'value of first'));
    const writers = ['a', 'b', 'c'].map((name) => new KvWriter(kv, name));
    const acknowledged = () => ['first', ...writers.flatMap((writer) => writer.acknowledged)];
    for (const family of ['rocksdb', 'sqlite', 'local']) {
      for (const node of ['n1', 'n2', 'n3']) {
        const before = acknowledged().length;
        await replica(kv, node, 'mirror', `${family}://${kv.directory(node)}/next-${family}`);
        await replica(kv, node, 'prove');
        await replica(kv, node, 'cutover');
        await replica(kv, node, 'finalize');
        expect(acknowledged().length).toBeGreaterThan(before);
      }
    }
    for (const name of ['n1 host', 'n2 host', 'n3 host']) await kv.kill(name);
    await Promise.all(writers.map((writer) => writer.stop()));
    await hasAll(kv, acknowledged());
    expect(await kv.stop()).toBe(0);
  }, 300_000);
});

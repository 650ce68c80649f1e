import { join } from 'node:path';

import { afterEach, describe, expect, test } from 'vitest';

import { runCli } from '../cli/run-cli.ts';
import { missing } from '../setup/toolchain.ts';
import { KvCluster } from './kv-cluster.ts';

let cluster: KvCluster | null = null;

afterEach(async () => {
  await cluster?.stop();
  cluster = null;
});

/** Writes unique keys, each to the next node, until told to stop. */
class Writer {
  readonly acknowledged: string[] = [];
  readonly #cluster: KvCluster;
  readonly #done: Promise<void>;
  #stopped = false;

  constructor(on: KvCluster, name: string) {
    this.#cluster = on;
    this.#done = this.#run(name);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#done;
  }

  async #run(name: string): Promise<void> {
    const { nodes } = this.#cluster;
    for (let i = 0; !this.#stopped; i += 1) {
      const key = `${name}-${i}`;
      const node = nodes[i % nodes.length] ?? '';
      if (await this.#cluster.write(node, key, `value of ${key}`)) this.acknowledged.push(key);
      else await new Promise((next) => setTimeout(next, 20));
    }
  }
}

/** Every node has applied every acknowledged write. */
async function hasAll(kv: KvCluster, acknowledged: readonly string[]): Promise<void> {
  for (const node of kv.nodes) {
    let lost: string[] = [];
    const isThere = async () => {
      const values = await kv.local(node);
      lost = acknowledged.filter((key) => values[key] !== `value of ${key}`);
      return lost.length === 0;
    };
    await kv.until(`${node} has every acknowledged write`, isThere).catch((error: unknown) => {
      throw new Error(`${node} lost ${lost.join(', ')}`, { cause: error });
    });
  }
}

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
    const writers = ['a', 'b', 'c'].map((name) => new Writer(kv, name));
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
    const writers = ['a', 'b', 'c'].map((name) => new Writer(kv, name));
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

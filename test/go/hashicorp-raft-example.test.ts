import { afterEach, describe, expect, test } from 'vitest';

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
    for (const node of kv.nodes) {
      let lost: string[] = [];
      const hasAll = async () => {
        const values = await kv.local(node);
        lost = acknowledged().filter((key) => values[key] !== `value of ${key}`);
        return lost.length === 0;
      };
      await kv.until(`${node} has every acknowledged write`, hasAll).catch((error: unknown) => {
        throw new Error(`${node} lost ${lost.join(', ')}`, { cause: error });
      });
    }
    const { pids } = kv;
    expect(await kv.stop()).toBe(0);
    for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  }, 240_000);
});

/** A client of the example's cluster, and what its acknowledged writes must come to. */
import type { KvCluster } from './kv-cluster.ts';

/** Writes unique keys, each to the next node, until told to stop. */
export class KvWriter {
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
export async function hasAll(kv: KvCluster, acknowledged: readonly string[]): Promise<void> {
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

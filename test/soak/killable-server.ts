/** A Temporal server to be killed: it comes back on the same port, with its database or without. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';

import { freePort } from '../setup/free-ports.ts';
import { makeServerDirectory } from '../setup/test-server.ts';
import { startTemporalServer, type TemporalServer } from '../../worker/temporal-server.ts';

export class KillableServer {
  readonly address: string;
  readonly namespace: string;
  readonly #bin: string;
  readonly #directory: string;
  #server: TemporalServer;
  #databases = 0;

  static async start(bin: string): Promise<KillableServer> {
    const directory = await makeServerDirectory();
    const server = await startTemporalServer({
      bin,
      dbFile: join(directory, 'temporal-0.db'),
      port: await freePort(),
    });
    return new KillableServer({ bin, directory, server });
  }

  private constructor(given: { bin: string; directory: string; server: TemporalServer }) {
    this.#bin = given.bin;
    this.#directory = given.directory;
    this.#server = given.server;
    this.address = given.server.address;
    this.namespace = given.server.namespace;
  }

  /** kill -9, then waits for the end. */
  async kill(): Promise<void> {
    await this.#server.kill();
  }

  /** On the same port; with an emptied database it knows nothing of what was. */
  async restart(options: { readonly emptied: boolean }): Promise<void> {
    if (options.emptied) this.#databases += 1;
    this.#server = await startTemporalServer({
      bin: this.#bin,
      dbFile: join(this.#directory, `temporal-${this.#databases}.db`),
      port: Number(this.address.split(':').at(-1)),
      namespace: this.namespace,
    });
  }

  async close(): Promise<void> {
    await this.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** A client that never pauses. */
import type { StorageHostClient } from '../../host/proto/gen/storage_host.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { appendMessage, openReplica, WriteStream } from './host-session.ts';

/** Appends one entry after the other, as long as it is not stopped. */
export class SteadyWriter {
  #stopped = false;
  readonly #client: StorageHostClient;
  readonly #member: string;
  last = 0n;
  readonly done: Promise<void>;

  constructor(client: StorageHostClient, member = 'n1') {
    this.#client = client;
    this.#member = member;
    this.done = this.#run();
    // It fails when its host is killed, before anybody waits for it.
    this.done.catch(() => {});
  }

  async stop(): Promise<bigint> {
    this.#stopped = true;
    await this.done;
    return this.last;
  }

  async #run(): Promise<void> {
    const { epoch, state } = await openReplica(this.#client, this.#member);
    this.last = state?.lastIndex ?? 0n;
    const stream = new WriteStream(this.#client, this.#member, epoch);
    while (!this.#stopped) {
      const next = this.last + 1n;
      await stream.until(stream.send(appendMessage(this.last, entriesOf(next, next))));
      this.last = next;
    }
    const error = await stream.end();
    if (error !== null) throw error;
  }
}

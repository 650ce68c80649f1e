/** A client that appends without a pause, and opens its replica again after every failure. */
import { deepStrictEqual, ok } from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';

import type { ServiceError } from '@grpc/grpc-js';

import type { StorageHostClient } from '../../host/proto/gen/storage_host.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';
import {
  appendMessage,
  codeOf,
  openReplica,
  readEntries,
  WriteStream,
} from '../host/host-session.ts';

const retryMs = 20;
const patienceMs = 60_000;

export interface Refusal {
  readonly code: string;
  readonly message: string;
}

export class PersistentWriter {
  readonly member: string;
  /** Why it had to open its replica again. */
  readonly refusals: Refusal[] = [];
  /** The last index that was acknowledged. */
  told = 0n;
  readonly #client: () => Promise<StorageHostClient>;
  readonly #done: Promise<void>;
  #isOver = false;

  /** @param client of the host that runs now */
  constructor(member: string, client: () => Promise<StorageHostClient>) {
    this.member = member;
    this.#client = client;
    this.#done = this.#run();
    // Whoever waits for it is told.
    this.#done.catch(() => {});
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#done;
  }

  /** Resolves after so many appends more were acknowledged. */
  async wrote(more: bigint): Promise<void> {
    const wanted = this.told + more;
    await this.#until(`${more} appends more`, () => this.told >= wanted);
  }

  /** The next refusal. */
  async refused(): Promise<Refusal> {
    const seen = this.refusals.length;
    await this.#until('a refusal', () => this.refusals.length > seen);
    return this.refusals[seen] ?? { code: 'none', message: '' };
  }

  /** All that was acknowledged is there, as it was written. */
  async check(): Promise<void> {
    const client = await this.#client();
    const { state } = await openReplica(client, this.member);
    const last = state?.lastIndex ?? 0n;
    ok(last >= this.told, `${this.member} ends at ${last}; ${this.told} was acknowledged`);
    const found = await readEntries(client, this.member, { first: 1n, last });
    deepStrictEqual(found, entriesOf(1n, last));
  }

  async #until(what: string, isSo: () => boolean): Promise<void> {
    const deadline = Date.now() + patienceMs;
    while (!isSo()) {
      await Promise.race([delay(retryMs), this.#failed()]);
      if (Date.now() < deadline) continue;
      const { code = 'none', message = '' } = this.refusals.at(-1) ?? {};
      throw new Error(`${this.member}: not in time: ${what}; refused by ${code}: ${message}`);
    }
  }

  /** Never resolves; rejects when the writer has found something lost. */
  #failed(): Promise<never> {
    return this.#done.then(() => new Promise<never>(() => {}));
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      try {
        await this.#session();
      } catch (error) {
        const refusal = refusalOf(error);
        if (refusal === null) throw error;
        this.refusals.push(refusal);
        await delay(retryMs);
      }
    }
  }

  async #session(): Promise<void> {
    const client = await this.#client();
    const { epoch, state } = await openReplica(client, this.member);
    let last = state?.lastIndex ?? 0n;
    ok(last >= this.told, `${this.member} was opened at ${last}; ${this.told} was acknowledged`);
    // What Open answers counts as acknowledged.
    this.told = last;
    const stream = new WriteStream(client, this.member, epoch);
    while (!this.#isOver) {
      await stream.until(stream.send(appendMessage(last, entriesOf(last + 1n, last + 1n))));
      last += 1n;
      this.told = last;
    }
    await stream.end();
  }
}

/** Null of what is no answer of a host, nor the lack of one. */
function refusalOf(error: unknown): Refusal | null {
  if (!(error instanceof Error)) return null;
  // The test has closed the client of a host that it ends.
  if (error.message === 'Channel has been shut down') {
    return { code: 'none', message: error.message };
  }
  if (!('metadata' in error)) return null;
  return { code: codeOf(error), message: (error as ServiceError).details };
}

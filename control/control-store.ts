/**
 * The control plane's own store: snapshots that rollouts follow, the inventory, the audit trail,
 * API tokens, what idempotent requests led to, and sent notices. One SQLite database in a thread
 * of its own, so that neither a commit nor another process's lock holds the caller up.
 *
 * Every change is durable when its promise resolves. Calls are done in the order in which they are
 * made. Several processes may have the store open.
 */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

import { assert, fail, QuorumshiftError } from '../core/errors.ts';
import {
  tableNames,
  type StoreFailure,
  type StoreReply,
  type StoreRequest,
  type StoreThreadData,
  type Tables,
} from './store-messages.ts';

type Asynchronous<Table> = {
  readonly [Name in keyof Table]: Table[Name] extends (...args: infer Args) => infer Result
    ? (...args: Args) => Promise<Result>
    : never;
};

/** The table groups by name, each as its class says, asynchronous. */
export type ControlStore = {
  readonly [Name in keyof Tables]: Asynchronous<Tables[Name]>;
} & {
  readonly controlDir: string;
  close(): Promise<void>;
};

/** @throws `store.unusable`, `io.failed` */
export async function openControlStore({
  controlDir,
  create = true,
}: {
  /** Absolute; made for its owner alone. */
  readonly controlDir: string;
  /** False: a store that is not there is refused, not made. */
  readonly create?: boolean;
}): Promise<ControlStore> {
  const file = join(controlDir, 'control.db');
  if (!create && !existsSync(file)) {
    throw fail('store.unusable', { file, reason: 'it is not there' });
  }
  const calls = new StoreCalls({ controlDir, runner: randomUUID() });
  try {
    await calls.call('store', 'open', []);
  } catch (error) {
    await calls.end();
    throw error;
  }
  const tables = Object.fromEntries(tableNames.map((name) => [name, calls.table(name)]));
  return { ...(tables as ControlStore), controlDir, close: () => calls.close() };
}

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Calls into the thread, answered in order. */
class StoreCalls {
  readonly #thread: Worker;
  readonly #controlDir: string;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #ended: Error | null = null;

  constructor(workerData: StoreThreadData) {
    this.#controlDir = workerData.controlDir;
    const file = new URL('./store-thread.js', import.meta.url);
    this.#thread = new Worker(file, { name: 'control-store', workerData });
    this.#thread.on('message', (reply: StoreReply) => this.#settle(reply));
    this.#thread.on('error', (error) => this.#end(error));
    this.#thread.on('exit', () => this.#end(new Error('its thread has ended')));
  }

  table(table: keyof Tables): unknown {
    return new Proxy(
      {},
      {
        get: (_target, call) =>
          // An object with a `then` would be taken for a promise.
          call === 'then'
            ? undefined
            : (...args: unknown[]) => this.call(table, String(call), args),
      },
    );
  }

  call(table: StoreRequest['table'], call: string, args: readonly unknown[]): Promise<unknown> {
    if (this.#ended !== null) return Promise.reject(this.#failure(this.#ended));
    this.#lastId += 1;
    const id = this.#lastId;
    const request: StoreRequest = { id, table, call, args };
    this.#thread.postMessage(request, []);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  /** Waits for what was called before. */
  async close(): Promise<void> {
    if (this.#ended !== null) return;
    await this.call('store', 'close', []);
    await this.end();
  }

  /** libsql closes the database's files only once its thread is gone. */
  async end(): Promise<void> {
    this.#end(new Error('it is closed'));
    await this.#thread.terminate();
  }

  #settle(reply: StoreReply): void {
    const waiting = this.#waiting.get(reply.id);
    assert(waiting !== undefined, 'the store answers each call once');
    this.#waiting.delete(reply.id);
    if ('result' in reply) waiting.resolve(reply.result);
    else waiting.reject(this.#asError(reply.failure));
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const waiting of this.#waiting.values()) waiting.reject(this.#failure(error));
    this.#waiting.clear();
  }

  #asError({ message, known }: StoreFailure): Error {
    if (known !== null) return new QuorumshiftError(known.code, known.details);
    return this.#failure(new Error(message));
  }

  #failure(cause: Error): Error {
    const details = { action: 'use control store', path: this.#controlDir, reason: cause.message };
    return fail('io.failed', details, { cause });
  }
}

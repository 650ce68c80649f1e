/** The store's thread: SQLite's calls block, and a commit waits for the disk. */
import { parentPort, workerData } from 'node:worker_threads';

import { assert, QuorumshiftError, messageOf } from '../core/errors.ts';
import { AuditTable } from './audit-table.ts';
import { ControlTables } from './control-tables.ts';
import { InventoryTable } from './inventory-table.ts';
import { NoticeTable } from './notice-table.ts';
import { OperationTable } from './operation-table.ts';
import { RolloutTable } from './rollout-table.ts';
import { SnapshotTable } from './snapshot-table.ts';
import type {
  StoreFailure,
  StoreReply,
  StoreRequest,
  StoreThreadData,
  Tables,
} from './store-messages.ts';
import { TokenTable } from './token-table.ts';

class StoreThread {
  readonly #data: StoreThreadData;
  #open: { readonly database: ControlTables; readonly tables: Tables } | null = null;

  constructor(data: StoreThreadData) {
    this.#data = data;
  }

  answer({ id, table, call, args }: StoreRequest): StoreReply {
    try {
      if (table === 'store') return { id, result: this.#own(call) };
      assert(this.#open !== null, 'the store is open');
      const called: unknown = Reflect.get(this.#open.tables[table], call);
      assert(typeof called === 'function', `${table} has ${call}`);
      return { id, result: Reflect.apply(called, this.#open.tables[table], args) as unknown };
    } catch (error) {
      return { id, failure: failureOf(error) };
    }
  }

  #own(call: string): null {
    if (call === 'open') this.#openAll();
    else this.#open?.database.close();
    return null;
  }

  #openAll(): void {
    const { controlDir, runner } = this.#data;
    const database = ControlTables.open(controlDir);
    this.#open = {
      database,
      tables: {
        snapshots: new SnapshotTable(database),
        inventories: new InventoryTable(database),
        audit: new AuditTable(database, controlDir),
        tokens: new TokenTable(database),
        operations: new OperationTable(database, runner),
        notices: new NoticeTable(database),
        rollouts: new RolloutTable(database),
      },
    };
  }
}

function failureOf(error: unknown): StoreFailure {
  const message = messageOf(error);
  if (error instanceof QuorumshiftError) {
    return { message, known: { code: error.code, details: error.details } };
  }
  const code = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : '';
  return { message: `${message}${code}`, known: null };
}

const port = parentPort;
assert(port !== null, 'this module runs in a worker thread');
const thread = new StoreThread(workerData as StoreThreadData);
port.on('message', (request: StoreRequest) => port.postMessage(thread.answer(request)));

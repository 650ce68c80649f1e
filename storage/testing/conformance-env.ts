/** What a conformance case is, and the small steps that all of them are made of. */
import { deepStrictEqual, fail as assertFail } from 'node:assert/strict';

import type { ErrorCode } from '../../core/errors.ts';
import { hasCode } from '../../core/errors.ts';
import type { Family, Instance, InstanceUris, OpenContext } from '../contracts.ts';
import type { LogEntry } from '../entry-batch.ts';
import { dumpState } from './state-dump.ts';
import {
  applyToInstance,
  applyToModel,
  dumpModel,
  emptyModel,
  type ModelMutation,
  type ModelSnapshot,
  type StateModel,
} from './state-model.ts';

export interface ConformanceEnv {
  readonly family: Family;
  /** Addresses where nothing is yet; new ones at each call. */
  readonly uris: () => InstanceUris;
  readonly context: OpenContext;
  /**
   * Of the pairs of mutations only those of this part: for a suite that runs on many stores of one
   * kind, which together see every pair. Absent: all of them.
   */
  readonly part?: { readonly index: number; readonly of: number };
}

/**
 * One situation. `run` rejects with an AssertionError when the family does not do as the contract
 * says.
 */
export interface ConformanceCase {
  readonly name: string;
  /** Clauses of the storage contract that it proves. */
  readonly clauses: readonly string[];
  run(env: ConformanceEnv): Promise<void>;
}

/** An instance and the model that it must equal. */
export class Subject {
  readonly env: ConformanceEnv;
  readonly uris: InstanceUris;
  instance: Instance;
  model: StateModel = emptyModel;

  private constructor(env: ConformanceEnv, created: { uris: InstanceUris; instance: Instance }) {
    this.env = env;
    this.uris = created.uris;
    this.instance = created.instance;
  }

  static async create(env: ConformanceEnv): Promise<Subject> {
    const uris = env.uris();
    return new Subject(env, {
      uris,
      instance: await env.family.open(uris, 'create', env.context),
    });
  }

  async apply(mutation: ModelMutation): Promise<void> {
    await applyToInstance(this.instance, mutation);
    this.model = applyToModel(this.model, mutation);
  }

  /** Closes, opens read-write, and compares. */
  async reopen(): Promise<void> {
    await this.instance.close();
    this.instance = await this.env.family.open(this.uris, 'read-write', this.env.context);
    await this.check();
  }

  async check(): Promise<void> {
    deepStrictEqual(await dumpState(this.instance), dumpModel(this.model));
  }

  /** The mutation must fail with `code` and change nothing, now and after a reopen. */
  async refuses(code: ErrorCode, mutation: ModelMutation): Promise<void> {
    await rejectsWith(code, () => applyToInstance(this.instance, mutation));
    await this.check();
    await this.reopen();
  }
}

/** Runs `body` with a fresh instance, compares it once more after a reopen, and closes it. */
export async function withSubject(
  env: ConformanceEnv,
  body: (subject: Subject) => Promise<void>,
): Promise<void> {
  const subject = await Subject.create(env);
  try {
    await body(subject);
    await subject.check();
    await subject.reopen();
  } finally {
    await subject.instance.close();
  }
}

export async function rejectsWith(code: ErrorCode, call: () => Promise<unknown>): Promise<Error> {
  try {
    await call();
  } catch (error) {
    if (!hasCode(error, code)) throw error;
    return error;
  }
  return assertFail(`it must fail with ${code}`);
}

/** Entries `from..to` of one term: DATA whose payload tells index and term. */
export function entriesOf(from: bigint, to: bigint, term = 1n): LogEntry[] {
  const list: LogEntry[] = [];
  for (let index = from; index <= to; index += 1n) {
    list.push({ index, term, type: 2, payload: Buffer.from(`entry ${index} of term ${term}`) });
  }
  return list;
}

/** Appends after the present end. */
export function appendOf(after: bigint, count: number, term = 1n): ModelMutation {
  return { entries: { after, list: entriesOf(after + 1n, after + BigInt(count), term) } };
}

export function snapshotOf(lastIncludedIndex: bigint, label: string): ModelSnapshot {
  return {
    meta: {
      lastIncludedIndex,
      lastIncludedTerm: 1n,
      peers: ['127.0.0.1:8300:0', '127.0.0.1:8301:0'],
      oldPeers: [],
      auxiliary: new Map([['id', Buffer.from(label)]]),
    },
    files: [
      { path: 'data', content: Buffer.from(`data of ${label}`), userMeta: null },
      { path: 'a/b/deep', content: Buffer.alloc(3000, label), userMeta: null },
      { path: 'empty', content: Buffer.alloc(0), userMeta: null },
    ],
  };
}

export const voteA = Buffer.from('127.0.0.1:8300:0');
export const voteB = Buffer.from('127.0.0.1:8301:0');

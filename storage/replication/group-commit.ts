/**
 * Group commit: appends that wait while another mutation is being made durable go to the store
 * together, as one mutation with one sync. Everything else runs alone, in its turn.
 */
import { assert } from '../../core/errors.ts';
import type { Mutation } from '../contracts.ts';
import { batchBytes, lastIndexOf, type EntryBatch } from '../entry-batch.ts';
import type { ManagedInstance } from '../managed-instance.ts';
import type { PairWindow } from './pair-window.ts';

/** Mutations that stand on each other: once one has failed, none after it is applied. */
export class Pipeline {
  failure: { readonly error: unknown } | null = null;
}

/** A mutation in its turn. */
interface Waiting {
  readonly mutation: Mutation;
  readonly pipeline: Pipeline;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class GroupCommit {
  readonly #instance: ManagedInstance;
  readonly #window: PairWindow;
  #queue: Waiting[] = [];
  #running: Promise<void> | null = null;
  /** The group that is being made durable. */
  #group: Promise<void> | null = null;
  #appendedEntries = 0n;

  constructor(instance: ManagedInstance, window: PairWindow) {
    this.#instance = instance;
    this.#window = window;
  }

  /**
   * Mutations that are durable in the order of these calls; see {@link ManagedInstance.apply}.
   * @throws what the first failed mutation of the pipeline has thrown
   */
  apply(mutation: Mutation, pipeline: Pipeline = new Pipeline()): Promise<void> {
    const done = new Promise<void>((resolve, reject) => {
      this.#queue.push({ mutation, pipeline, resolve, reject });
    });
    this.#running ??= this.#run();
    return done;
  }

  /** Entries acknowledged so far. */
  get appendedEntries(): bigint {
    return this.#appendedEntries;
  }

  /** Resolves when everything given before has been answered. */
  async drained(): Promise<void> {
    await this.#running;
  }

  /** Resolves when what is being made durable now, if anything, has been answered. */
  async settled(): Promise<void> {
    await this.#group;
  }

  async #run(): Promise<void> {
    // Those that are given in the same turn of the event loop belong together.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      this.#group = this.#applyGroup(this.#takeGroup());
      await this.#group;
      this.#group = null;
    }
    this.#running = null;
  }

  /** The next mutation, with the appends that follow it directly when it is one itself. */
  #takeGroup(): Waiting[] {
    const group: Waiting[] = [];
    let end: bigint | null = null;
    let [entries, bytes] = [0, 0];
    for (const waiting of this.#queue) {
      if (group.length > 0 && waiting.pipeline.failure !== null) break;
      const batches = appendOnly(waiting.mutation);
      const follows = end === null || waiting.mutation.entries?.after === end;
      if (group.length > 0 && (batches === null || !follows)) break;
      if (batches !== null) {
        entries += countOf(waiting.mutation);
        bytes += batches.reduce((sum, batch) => sum + batchBytes(batch), 0);
        const isBeyond = entries > this.#window.entries || bytes > this.#window.bytes;
        if (group.length > 0 && isBeyond) break;
      }
      group.push(waiting);
      const last = batches?.at(-1);
      if (last === undefined) break;
      end = lastIndexOf(last);
    }
    this.#queue = this.#queue.slice(group.length);
    return group;
  }

  async #applyGroup(group: readonly Waiting[]): Promise<void> {
    const [first] = group;
    assert(first !== undefined, 'a group has a mutation');
    const { failure } = first.pipeline;
    if (failure !== null) return first.reject(failure.error);
    try {
      await this.#instance.apply(merged(group));
    } catch (error) {
      // A refusal has changed nothing: which of them it concerns shows one by one.
      const isOne = group.length === 1 || this.#instance.isPoisoned;
      if (isOne) return failAll(group, error);
      for (const waiting of group) await this.#applyGroup([waiting]);
      return;
    }
    for (const { mutation, resolve } of group) {
      this.#appendedEntries += BigInt(countOf(mutation));
      resolve();
    }
  }
}

/** At once: what stands on them must not be applied next. */
function failAll(group: readonly Waiting[], error: unknown): void {
  for (const { pipeline, reject } of group) {
    pipeline.failure ??= { error };
    reject(error);
  }
}

function countOf({ entries }: Mutation): number {
  return (entries?.batches ?? []).reduce((sum, batch) => sum + batch.count, 0);
}

/** The batches of a mutation that only appends; null of any other. */
function appendOnly({ entries, ...rest }: Mutation): readonly EntryBatch[] | null {
  if (entries === undefined || entries.batches.length === 0) return null;
  return Object.keys(rest).length === 0 ? entries.batches : null;
}

function merged(group: readonly Waiting[]): Mutation {
  const [first] = group;
  assert(first !== undefined, 'a group has a mutation');
  if (group.length === 1) return first.mutation;
  const batches = group.flatMap(({ mutation }) => mutation.entries?.batches ?? []);
  return { entries: { after: first.mutation.entries?.after ?? 0n, batches } };
}

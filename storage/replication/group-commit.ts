/**
 * Group commit: appends that wait while another mutation is being made durable go to the store
 * together, as one mutation with one sync. Everything else runs alone, in its turn.
 */
import { assert } from '../../core/errors.ts';
import type { Mutation } from '../contracts.ts';
import { batchBytes, lastIndexOf, type EntryBatch } from '../entry-batch.ts';
import type { ManagedInstance } from '../managed-instance.ts';
import type { PairWindow } from './pair-window.ts';

/** A mutation in its turn. */
interface Waiting {
  readonly mutation: Mutation;
  /** Asked in its turn; an error to refuse it with, or null. */
  readonly refusal: () => Error | null;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class GroupCommit {
  readonly #instance: ManagedInstance;
  readonly #window: PairWindow;
  #queue: Waiting[] = [];
  #running: Promise<void> | null = null;

  constructor(instance: ManagedInstance, window: PairWindow) {
    this.#instance = instance;
    this.#window = window;
  }

  /** Mutations that are durable in the order of these calls; see {@link ManagedInstance.apply}. */
  apply(mutation: Mutation, refusal: () => Error | null = () => null): Promise<void> {
    const done = new Promise<void>((resolve, reject) => {
      this.#queue.push({ mutation, refusal, resolve, reject });
    });
    this.#running ??= this.#run();
    return done;
  }

  /** Resolves when everything given before has been answered. */
  async drained(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // Those that are given in the same turn of the event loop belong together.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const group = this.#takeGroup();
      const refused = group.length === 1 ? (group[0]?.refusal() ?? null) : null;
      if (refused === null) await this.#applyGroup(group);
      else group[0]?.reject(refused);
    }
    this.#running = null;
  }

  /** The next mutation, with the appends that follow it directly when it is one itself. */
  #takeGroup(): Waiting[] {
    const group: Waiting[] = [];
    let end: bigint | null = null;
    let [entries, bytes] = [0, 0];
    for (const waiting of this.#queue) {
      if (waiting.refusal() !== null) {
        if (group.length === 0) group.push(waiting);
        break;
      }
      const batches = appendOnly(waiting.mutation);
      const follows = end === null || waiting.mutation.entries?.after === end;
      if (group.length > 0 && (batches === null || !follows)) break;
      if (batches !== null) {
        entries += batches.reduce((sum, batch) => sum + batch.count, 0);
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
    try {
      await this.#instance.apply(merged(group));
      for (const waiting of group) waiting.resolve();
    } catch (error) {
      if (group.length === 1 || this.#instance.isPoisoned) {
        for (const waiting of group) waiting.reject(error);
        await heard();
      } else {
        await this.#applySingly(group);
      }
    }
  }

  /** A refusal has changed nothing: which of the group it concerns shows one by one. */
  async #applySingly(group: readonly Waiting[]): Promise<void> {
    for (const waiting of group) {
      const refused = waiting.refusal();
      if (refused === null) await this.#applyGroup([waiting]);
      else waiting.reject(refused);
    }
  }
}

/** Who was refused knows it before the next is asked whether it still wants its turn. */
async function heard(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
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

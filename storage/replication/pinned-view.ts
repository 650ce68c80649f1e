/**
 * An instance as it was at one cut, while it is written on (IMG-1): its state and snapshot are
 * held, and of its entries only those that no mutation has rewritten are given out.
 */
import { fail, hasCode } from '../../core/errors.ts';
import type {
  DurableState,
  Instance,
  ReadOptions,
  SnapshotReader,
  SnapshotStorage,
} from '../contracts.ts';
import { lastIndexOf, type EntryBatch } from '../entry-batch.ts';
import type { ChangeTracker } from './change-tracker.ts';

/**
 * Call it where nothing is being written; close it when done. Its reads throw
 * `image.source-changed` once what they read was rewritten or dropped.
 */
export async function pinView(instance: Instance, since: ChangeTracker): Promise<Instance> {
  const held = await instance.snapshots.latest();
  return new PinnedView({ instance, since, held, state: instance.state() });
}

class PinnedView implements Instance {
  readonly snapshots: SnapshotStorage;
  readonly #of: Instance;
  readonly #since: ChangeTracker;
  readonly #held: SnapshotReader | null;
  readonly #state: DurableState;

  constructor(parts: {
    instance: Instance;
    since: ChangeTracker;
    held: SnapshotReader | null;
    state: DurableState;
  }) {
    this.#of = parts.instance;
    this.#since = parts.since;
    this.#held = parts.held;
    this.#state = parts.state;
    const { held } = parts;
    this.snapshots = {
      // The view closes it.
      latest: async () => held && { ...held, treePath: held.treePath, close: async () => {} },
      begin: () => Promise.reject(this.#readOnly('write snapshot of')),
      found: async () => [],
    };
  }

  get uris() {
    return this.#of.uris;
  }

  get family() {
    return this.#of.family;
  }

  get warnings() {
    return this.#of.warnings;
  }

  get hazards() {
    return this.#of.hazards;
  }

  state(): DurableState {
    return this.#state;
  }

  async *read(from: bigint, to: bigint, options?: ReadOptions): AsyncGenerator<EntryBatch> {
    try {
      for await (const batch of this.#of.read(from, to, options)) {
        if (this.#since.hasRewritten(lastIndexOf(batch))) throw this.#changed();
        yield batch;
      }
    } catch (error) {
      throw hasCode(error, 'log.out-of-range') ? this.#changed() : error;
    }
  }

  apply(): Promise<void> {
    return Promise.reject(this.#readOnly('change'));
  }

  async close(): Promise<void> {
    await this.#held?.close();
  }

  #changed(): Error {
    const { firstIndex, lastIndex } = this.#state;
    const actual = `entries of ${firstIndex}..${lastIndex} were rewritten or dropped since`;
    return fail('image.source-changed', { instance: this.uris.log, actual });
  }

  #readOnly(action: string): Error {
    return fail('instance.read-only', { action, instance: this.uris.log });
  }
}

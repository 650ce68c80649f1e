/**
 * The instance that every family's engine becomes: one total order of mutations (LOG-1), refusals
 * before effects (LOG-2 to LOG-7), and a handle that closes itself to mutations after a failure
 * whose outcome is unknown (LOG-8).
 */
import { assert, fail, type QuorumshiftError } from '../core/errors.ts';
import type {
  DurableState,
  FamilyLimits,
  Instance,
  InstanceUris,
  Mutation,
  ReadOptions,
  SnapshotStorage,
  SnapshotWriter,
} from './contracts.ts';
import { lastIndexOf, termAt, type EntryBatch } from './entry-batch.ts';
import { planMutation, type MutationPlan } from './mutation-plan.ts';

/** The size is large enough for bulk work, and small beside the memory bound. */
const defaultRead: Required<ReadOptions> = {
  maxBytes: 1024 * 1024,
  passing: false,
  statesPayloads: false,
};

/** What a family writes itself; everything here is called by {@link manageInstance} alone. */
export interface StoreEngine {
  /** Executes the plan; resolves when all of it is durable. One call at a time. */
  commit(plan: MutationPlan): Promise<void>;
  /** Entries `from..to`, within the retained range. May run beside a commit. */
  read(from: bigint, to: bigint, options: Required<ReadOptions>): AsyncIterable<EntryBatch>;
  readonly snapshots: SnapshotStorage;
  close(): Promise<void>;
}

export interface ManagedInstanceOptions {
  readonly uris: InstanceUris;
  readonly family: string;
  readonly limits: FamilyLimits;
  readonly readOnly: boolean;
  /** Whether it is written by a Raft library, whose terms do not fall along the log (I5). */
  readonly isLive?: boolean;
  readonly state: DurableState;
  readonly warnings?: readonly string[];
  readonly hazards?: readonly string[];
}

export function manageInstance(
  engine: StoreEngine,
  options: ManagedInstanceOptions,
): ManagedInstance {
  return new ManagedInstance(engine, options);
}

export class ManagedInstance implements Instance {
  readonly uris: InstanceUris;
  readonly family: string;
  readonly warnings: readonly string[];
  readonly hazards: readonly string[];
  readonly snapshots: SnapshotStorage;
  readonly #engine: StoreEngine;
  readonly #options: ManagedInstanceOptions;
  #limits: FamilyLimits;
  #state: DurableState;
  #queue: Promise<void> = Promise.resolve();
  #poison: Error | null = null;
  #closed = false;
  /** The last entry appended: what an append mostly follows. Another at its place replaces it. */
  #appended: { readonly index: bigint; readonly term: bigint } | null = null;

  constructor(engine: StoreEngine, options: ManagedInstanceOptions) {
    this.#engine = engine;
    this.#options = options;
    this.#limits = options.limits;
    this.#state = options.state;
    this.uris = options.uris;
    this.family = options.family;
    this.warnings = options.warnings ?? [];
    this.hazards = options.hazards ?? [];
    this.snapshots = {
      latest: async () => {
        this.#requireOpen('read snapshot of');
        return engine.snapshots.latest();
      },
      begin: async (meta) => {
        this.requireWritable('write snapshot of');
        return this.#watched(await engine.snapshots.begin(meta));
      },
      found: async () => {
        this.#requireOpen('read snapshot of');
        return engine.snapshots.found();
      },
    };
  }

  /** Whether a mutation has failed with an unknown outcome (LOG-8). */
  get isPoisoned(): boolean {
    return this.#poison !== null;
  }

  /**
   * Closes the instance to mutations: something that stands behind it has failed with an unknown
   * outcome (LOG-8).
   */
  poison(cause: unknown): void {
    this.#poison ??= cause instanceof Error ? cause : new Error(String(cause));
  }

  /** @throws `instance.closed`, `instance.read-only`, `instance.poisoned` */
  requireWritable(action: string): void {
    this.#requireOpen(action);
    const instance = this.uris.log;
    if (this.#options.readOnly) throw fail('instance.read-only', { action, instance });
    if (this.#poison !== null) throw poisoned(instance, this.#poison);
  }

  /** What mutations must fit in from now on; within {@link alone}. */
  changeLimits(limits: FamilyLimits): void {
    this.#limits = limits;
  }

  state(): DurableState {
    return this.#state;
  }

  read(from: bigint, to: bigint, options: ReadOptions = {}): AsyncIterable<EntryBatch> {
    this.#requireOpen('read');
    const { firstIndex, lastIndex } = this.#state;
    for (const index of from > to ? [] : [from, to]) {
      if (index < firstIndex || index > lastIndex) {
        throw fail('log.out-of-range', {
          instance: this.uris.log,
          index,
          first: firstIndex,
          last: lastIndex,
        });
      }
    }
    if (from > to) return nothing();
    return this.#engine.read(from, to, { ...defaultRead, ...options });
  }

  apply(mutation: Mutation): Promise<void> {
    return this.alone(() => this.#applyNow(mutation));
  }

  /**
   * Runs `section` after every mutation given before it, and before every one given later.
   * @throws `instance.closed`
   */
  alone<Result>(section: () => Promise<Result>): Promise<Result> {
    const done = this.#queue.then(() => {
      this.#requireOpen('change');
      return section();
    });
    this.#queue = done.then(
      () => {},
      () => {},
    );
    return done;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#queue;
    await this.#engine.close();
  }

  async #applyNow(mutation: Mutation): Promise<void> {
    this.requireWritable('change');
    const { family, uris } = this.#options;
    const limits = this.#limits;
    const plan = await planMutation(
      {
        instance: uris.log,
        family,
        limits,
        stored: (from, to) => this.#engine.read(from, to, defaultRead),
        ...(this.#options.isLive && { termOf: (index: bigint) => this.#termOf(index) }),
      },
      this.#state,
      mutation,
    );
    try {
      await this.#engine.commit(plan);
    } catch (error) {
      this.poison(error);
      throw error;
    }
    this.#state = plan.next;
    const last = plan.append.at(-1);
    if (last !== undefined) {
      this.#appended = { index: lastIndexOf(last), term: termAt(last, last.count - 1) };
    }
    assert(
      this.#state.lastIndex >= this.#state.firstIndex - 1n,
      'a range ends at first - 1 or above',
    );
  }

  async #termOf(index: bigint): Promise<bigint> {
    if (this.#appended?.index === index) return this.#appended.term;
    for await (const batch of this.#engine.read(index, index, defaultRead)) return termAt(batch, 0);
    throw fail('data.corrupt', { file: this.uris.log, offset: 0, reason: `no entry ${index}` });
  }

  /** A writer whose failed sync closes the instance to mutations too. */
  #watched(writer: SnapshotWriter): SnapshotWriter {
    const watch = async <Result>(work: Promise<Result>): Promise<Result> => {
      try {
        return await work;
      } catch (error) {
        if (isFailedSync(error)) this.poison(error);
        throw error;
      }
    };
    return {
      file: (file, bytes) => watch(writer.file(file, bytes)),
      prepare: (tag) => watch(writer.prepare(tag)),
      abort: () => writer.abort(),
    };
  }

  #requireOpen(action: string): void {
    if (this.#closed) throw fail('instance.closed', { action, instance: this.uris.log });
  }
}

/** Whether it is the file layer's error of a sync. */
function isFailedSync(error: unknown): error is Error {
  return error instanceof Error && 'syscall' in error && error.syscall === 'fsync';
}

function poisoned(instance: string, cause: Error): QuorumshiftError {
  return fail('instance.poisoned', { instance, cause: cause.message }, { cause });
}

async function* nothing(): AsyncGenerator<EntryBatch> {
  // An empty range has no batches.
}

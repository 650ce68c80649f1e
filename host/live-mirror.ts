/**
 * The second instance of a replica that is being written: bootstrapped while writes go on, kept
 * equal by dual write, proven equal, cut over to, and cut back from.
 *
 *     single(A) → bootstrapping(A, B) → dual(A→B) ⇄ dual(B→A) → single(B)
 *
 * Each change of the record is durable before what it stands for; what runs between two of them can
 * be stopped anywhere and asked for again.
 */
import { assert, fail } from '../core/errors.ts';
import { replicaText } from '../core/ids.ts';
import type { BindingRecord, InstanceRef, MirrorState } from '../schemas/binding-record.ts';
import type { Proof } from '../schemas/proof.ts';
import { stampNamed } from '../storage/binding/generation-stamp.ts';
import { requireUnnamed } from '../storage/binding/named-instances.ts';
import { urisNow } from '../storage/binding/parking.ts';
import type { RecordStore } from '../storage/binding/record-store.ts';
import type { Instance, InstanceUris } from '../storage/contracts.ts';
import { compareInstances } from '../storage/equivalence/compare.ts';
import { makeProof } from '../storage/equivalence/proof.ts';
import type { FamilyRegistry } from '../storage/family-registry.ts';
import type { TransferOptions } from '../storage/image/state-stream.ts';
import type { ChangeTracker } from '../storage/replication/change-tracker.ts';
import { requireSameTail } from '../storage/replication/log-match.ts';
import type { Pair } from '../storage/replication/open-pair.ts';
import { withPinned } from '../storage/replication/pinned-pair.ts';
import { barrierBytes, discardInstance, MirrorBootstrap } from './mirror-bootstrap.ts';

export interface LiveMirrorOptions {
  readonly families: FamilyRegistry;
  readonly store: RecordStore;
  readonly stateDir: string;
  readonly pair: () => Pair;
  /** For the audit trail. */
  readonly by: string;
}

/** A proof of this process's life, and what has changed since its cut. */
interface HeldProof {
  readonly proof: Proof;
  readonly lastIndex: bigint;
  readonly since: ChangeTracker;
  /** Whose changes are tracked: one that was opened again since voids the proof (EQ-5). */
  readonly pair: Pair;
}

export class LiveMirror {
  readonly #options: LiveMirrorOptions;
  #held: HeldProof | null = null;
  /** One operation at a time: each begins with what the one before has left. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #stopping = new AbortController();

  constructor(options: LiveMirrorOptions) {
    this.#options = options;
  }

  /** Both instances as they stand now. */
  get sides(): { readonly primary: Instance; readonly mirror: Instance | null } {
    const { primary, mirror } = this.#options.pair().engine;
    return { primary, mirror };
  }

  /** Operators and agents ask in several calls at once: runs them one after the other. */
  inTurn<Result>(operation: () => Promise<Result>): Promise<Result> {
    const done = this.#turn.then(() => {
      this.#stopping.signal.throwIfAborted();
      return operation();
    });
    this.#turn = done.catch(() => {});
    return done;
  }

  /** Begins nothing more; resolves when what was under way has ended, a copy or a proof early. */
  async stop(): Promise<void> {
    const instance = replicaText(this.#options.store.replica);
    this.#stopping.abort(fail('instance.closed', { action: 'change the mirror of', instance }));
    await this.#turn;
  }

  #stoppable({ signal, ...options }: TransferOptions): TransferOptions {
    const stopping = this.#stopping.signal;
    return { ...options, signal: signal ? AbortSignal.any([signal, stopping]) : stopping };
  }

  /**
   * Names `uris` as the mirror to be, or finds it named. Nothing is copied yet.
   * @throws `record.conflict`, `instance.not-empty`, `instance.named-by-record`
   */
  async begin(uris: InstanceUris): Promise<void> {
    const { families, store, stateDir } = this.#options;
    const { files, replica } = store;
    await requireUnnamed({ families, files, stateDir, uris, except: replica });
    await store.locked(async ({ record, write, confirm }) => {
      const current = present(store, record);
      if (current.mirror !== null) {
        if (JSON.stringify(current.mirror.ref.uris) === JSON.stringify(uris)) return confirm();
        throw conflict(store, 'bootstrap', `${current.mirror.ref.uris.log} is its mirror already`);
      }
      const actual = await families.familyOf(uris).occupied(uris, { files });
      if (actual !== null) {
        const action = 'bootstrap into';
        throw fail('instance.not-empty', { action, instance: uris.log, actual });
      }
      const ref: InstanceRef = { uris, parkedTag: null };
      const mirror: MirrorState = { ref, stage: 'bootstrapping' };
      const next = { ...current, mirror, generation: current.generation + 1 };
      await write({ next, audit: this.#audit('mirror-begin', { mirror: uris }) });
    });
  }

  /**
   * Copies a cut, catches up in rounds, and begins dual write (mirror-bootstrap.ts). Done already
   * is as good.
   */
  async bootstrap(options: TransferOptions = {}): Promise<void> {
    const { families, store, pair } = this.#options;
    const { mirror } = present(store, await store.read());
    if (mirror === null) throw conflict(store, 'bootstrap', 'no mirror is named');
    if (mirror.stage === 'dual') return;
    const uris = urisNow(families, mirror.ref);
    const joined = () =>
      this.#change('dual-begin', (record) => {
        assert(record.mirror !== null, 'a mirror that joins is named');
        return { ...record, mirror: { ...record.mirror, stage: 'dual' } };
      });
    await new MirrorBootstrap({ families, files: store.files, uris, pair: pair(), joined }).run(
      this.#stoppable(options),
    );
  }

  /**
   * Reads both instances back at one cut while writes go on; the proof that they were equal there.
   * @throws `state.different`; `image.source-changed` when the cut was rewritten meanwhile: then
   *   ask again
   */
  async prove(options: TransferOptions = {}): Promise<Proof> {
    const { store } = this.#options;
    const record = present(store, await store.read());
    if (record.mirror?.stage !== 'dual')
      throw conflict(store, 'prove', 'it has no mirror in dual write');
    const migrationId = replicaText(record.replica);
    this.#untrack(this.#held?.since ?? null);
    this.#held = null;
    const pair = this.#options.pair();
    return withPinned(pair, async ({ primary, mirror, keep }) => {
      if (mirror === null) throw conflict(store, 'prove', 'its mirror was left a moment ago');
      const compared = await compareInstances(primary, mirror, this.#stoppable(options));
      if (!compared.equal) {
        throw fail('state.different', { summary: compared.report.summary });
      }
      const proof = makeProof({
        migrationId,
        generation: record.generation,
        source: { uris: primary.uris, digest: compared.a },
        target: { uris: mirror.uris, digest: compared.b },
        createdAt: store.now(),
      });
      this.#held = { proof, lastIndex: primary.state().lastIndex, since: keep(), pair };
      return proof;
    });
  }

  /**
   * Makes the mirror the primary, in a pause whose length does not depend on the state's size: what
   * changed since the proof is compared, then the record is swapped (EQ-5). Dual write goes on in
   * the other direction.
   * @returns how long writers waited, in milliseconds
   * @throws `proof.stale` when there is none of this generation, or too much has changed since
   */
  async cutOver(): Promise<number> {
    const held = this.#held;
    if (held?.pair !== this.#options.pair()) throw stale('none', 'a cutover');
    let pauseMs = 0;
    await this.#whileStill(async () => {
      const begun = performance.now();
      await this.#swap(held);
      pauseMs = performance.now() - begun;
    });
    return pauseMs;
  }

  async #swap(held: HeldProof): Promise<void> {
    const { engine } = this.#options.pair();
    const { primary, mirror } = engine;
    if (mirror === null) throw stale('none', 'a cutover without a mirror');
    await this.#compareSince(held, { primary, mirror });
    await this.#change('cutover', (record) => {
      if (record.generation !== held.proof.generation) {
        throw stale(`generation ${record.generation}`, `generation ${held.proof.generation}`);
      }
      assert(record.mirror?.stage === 'dual', 'a cutover is of a pair');
      const { ref } = record.mirror;
      return { ...record, primary: ref, mirror: { stage: 'dual', ref: record.primary } };
    });
    engine.swap();
    engine.untrack(held.since);
    this.#held = null;
  }

  /** With writers waiting, and no snapshot under way: one that is being written ends first. */
  async #whileStill(work: () => Promise<void>): Promise<void> {
    const pair = this.#options.pair();
    const { instance, engine } = pair;
    for (let done = false; !done;) {
      await engine.snapshots.ended();
      done = await instance.alone(() => {
        // After a failure nothing changes before the disk has been read again (LOG-8).
        instance.requireWritable('change the sides of');
        return engine.snapshots.between(work);
      });
    }
  }

  async #compareSince(
    held: HeldProof,
    sides: { readonly primary: Instance; readonly mirror: Instance },
  ): Promise<void> {
    const { since, lastIndex } = held;
    if (since.snapshotReplaced) throw stale('a snapshot was published since', held.proof.createdAt);
    const lowest = since.lowestIndex;
    const from = lowest === null || lowest > lastIndex ? lastIndex + 1n : lowest;
    await requireSameTail(sides, { from, maxBytes: barrierBytes });
  }

  /** Ends dual write: the primary goes on alone. What was the mirror is closed and stays. */
  async finalize(): Promise<InstanceRef | null> {
    return this.#leave('finalize');
  }

  /** Before a cutover: gives the mirror up and discards what was copied. */
  async drop(): Promise<void> {
    const left = await this.#leave('mirror-drop');
    const { families, store } = this.#options;
    if (left === null) return;
    await discardInstance({ families, files: store.files }, urisNow(families, left));
  }

  async #leave(event: string): Promise<InstanceRef | null> {
    const { engine } = this.#options.pair();
    let left: InstanceRef | null = null;
    let detached: Instance | null = null;
    await this.#whileStill(async () => {
      await this.#change(event, (record) => {
        left = record.mirror?.ref ?? null;
        return { ...record, mirror: null };
      });
      if (engine.mirror !== null) detached = engine.detach();
    });
    await (detached as Instance | null)?.close();
    return left;
  }

  #untrack(since: ChangeTracker | null): void {
    if (since !== null) this.#options.pair().engine.untrack(since);
  }

  /**
   * Writes the record, then, durably, the stamps of what it names (CUT-2). When one of these writes
   * fails the record may name other sides than those that are being written: nothing more is
   * acknowledged then before the store has been opened by what the record says.
   */
  async #change(event: string, change: (record: BindingRecord) => BindingRecord): Promise<void> {
    const { store, pair } = this.#options;
    const { instance } = pair();
    let isBegun = false;
    try {
      const written = await store.locked(async ({ record, write }) => {
        const current = present(store, record);
        const next = { ...change(current), generation: current.generation + 1 };
        const details = { primary: next.primary.uris, mirror: next.mirror?.ref.uris ?? null };
        isBegun = true;
        return write({ next, audit: this.#audit(event, details) });
      });
      await this.#stamp(event, written);
    } catch (error) {
      if (isBegun) instance.poison(error);
      throw error;
    }
  }

  async #stamp(event: string, record: BindingRecord): Promise<void> {
    const { families, store } = this.#options;
    // Of a mirror that joins the directory is new, and has no stamp that says whose it is.
    const made = event === 'dual-begin' ? record.mirror?.ref : undefined;
    await stampNamed({ files: store.files, families, record, ...(made && { made }) });
  }

  #audit(event: string, details: Readonly<Record<string, unknown>>) {
    return { event, by: this.#options.by, details };
  }
}

function present(store: RecordStore, record: BindingRecord | null): BindingRecord {
  if (record !== null) return record;
  throw fail('record.missing', {
    action: 'change the mirror of',
    replica: replicaText(store.replica),
    path: store.directory.record,
  });
}

function conflict(store: RecordStore, action: string, actual: string): Error {
  const required = 'its pair must be in the stage for it';
  return fail('record.conflict', { action, replica: replicaText(store.replica), required, actual });
}

function stale(required: string, given: string): Error {
  return fail('proof.stale', { present: required, given });
}

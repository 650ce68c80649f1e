/**
 * The second instance of a replica that is being written: bootstrapped while writes go on, kept
 * equal by dual write, proven equal, cut over to, and cut back from.
 *
 *     single(A) → bootstrapping(A, B) → dual(A→B) ⇄ dual(B→A) → single(B)
 *
 * Each change of the record is durable before what it stands for; what runs between two of them can
 * be stopped anywhere and asked for again.
 */
import { join } from 'node:path';

import { assert, fail } from '../core/errors.ts';
import { replicaText } from '../core/ids.ts';
import type { BindingRecord, FormerMirror, MirrorState } from '../schemas/binding-record.ts';
import type { EquivalenceReport } from '../schemas/equivalence-report.ts';
import type { Proof } from '../schemas/proof.ts';
import { prepareStamps, stampNamed } from '../storage/binding/generation-stamp.ts';
import { settleFormer } from '../storage/binding/former-mirror.ts';
import { urisNow } from '../storage/binding/parking.ts';
import type { PreparedRecord, RecordChange, RecordStore } from '../storage/binding/record-store.ts';
import { requireCaller } from '../storage/binding/step-guard.ts';
import type { Instance, InstanceUris } from '../storage/contracts.ts';
import { makeProof, writeProof, writeReport } from '../storage/equivalence/proof.ts';
import type { FamilyRegistry } from '../storage/family-registry.ts';
import type { GiveWay } from '../storage/image/rate-limit.ts';
import type { TransferOptions } from '../storage/image/state-stream.ts';
import type { Pair } from '../storage/replication/open-pair.ts';
import { withPinned } from '../storage/replication/pinned-pair.ts';
import { within } from './each-in-time.ts';
import { HeldProof } from './held-proof.ts';
import { barrierBytes, MirrorBootstrap } from './mirror-bootstrap.ts';
import { conflict, presentOf, type Caller } from './mirror-caller.ts';
import { nameMirror } from './name-mirror.ts';
import { PairValidation, type Validated, type ValidateOptions } from './pair-validation.ts';
import type { DigestElsewhere } from './restart-check.ts';

export interface LiveMirrorOptions {
  readonly families: FamilyRegistry;
  readonly store: RecordStore;
  readonly stateDir: string;
  readonly pair: () => Pair;
  /** Bulk work lets what the client waits for pass. */
  readonly giveWay: GiveWay;
  /** Shows that a mirror restarts, before dual write begins. */
  readonly digestElsewhere?: DigestElsewhere | undefined;
  /** How often a validation reads all of both sides (pair-validation.ts). */
  readonly fullValidationEverySeconds: number;
  /** For the audit trail. */
  readonly by: string;
}

/** A proof, and its file's name within `proofs/`. */
export interface ProofOnFile {
  readonly proof: Proof;
  readonly file: string;
  /** Of both sides, for it. */
  readonly bytesRead: number;
}

/** How long what was given to a mirror that was left may take to return. */
const leftWithinMs = 5_000;

/** A cutover with all of it that may lie on the disk before its moment. */
interface PreparedCutover {
  readonly held: HeldProof;
  readonly caller: Caller;
  readonly record: PreparedRecord;
  /** Gives the stamps their names. */
  readonly stamp: () => Promise<void>;
}

type ChangeOfRecord = (record: BindingRecord) => BindingRecord;

export class LiveMirror {
  readonly #options: LiveMirrorOptions;
  readonly #validation: PairValidation;
  #held: HeldProof | null = null;
  /** One operation at a time: each begins with what the one before has left. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #stopping = new AbortController();

  constructor(options: LiveMirrorOptions) {
    this.#options = options;
    const { fullValidationEverySeconds: fullEverySeconds, store } = options;
    this.#validation = new PairValidation({ fullEverySeconds, now: () => store.now() });
  }

  /** Both instances as they stand now. */
  get sides(): { readonly primary: Instance; readonly mirror: Instance | null } {
    const { primary, mirror } = this.#options.pair().engine;
    return { primary, mirror };
  }

  /** The last validation of the present pair; null without one. */
  get lastValidation(): Validated | null {
    return this.#validation.lastOf(this.#options.pair().engine);
  }

  /** Whether a cutover could rest on the last proof, as far as is known without a barrier. */
  holdsProof({ generation }: BindingRecord): boolean {
    const held = this.#held;
    if (held === null || held.pair !== this.#options.pair()) return false;
    return held.proof.generation === generation && !held.isVoid;
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
    const { giveWay } = this.#options;
    return { ...options, giveWay, signal: signal ? AbortSignal.any([signal, stopping]) : stopping };
  }

  /** Names `uris` as the mirror to be, or finds it named (name-mirror.ts). */
  async begin(uris: InstanceUris, caller = this.#byHand): Promise<void> {
    const { families, store } = this.#options;
    await settleFormer(store, families, caller.by);
    await nameMirror(this.#options, uris, caller);
  }

  /**
   * Copies a cut, catches up in rounds, and begins dual write (mirror-bootstrap.ts). Done already
   * is as good.
   */
  async bootstrap(options: TransferOptions = {}, caller = this.#byHand): Promise<void> {
    const { families, store, pair } = this.#options;
    const record = presentOf(store, await store.read());
    requireCaller(record, caller.claim);
    const { mirror } = record;
    if (mirror === null) throw conflict(store, 'bootstrap', 'no mirror is named');
    if (mirror.stage === 'dual') return;
    const uris = urisNow(families, mirror.ref);
    const joined = () =>
      this.#change('dual-begin', caller, (current) => {
        assert(current.mirror !== null, 'a mirror that joins is named');
        const { window } = this.#options.pair().engine;
        return { ...current, mirror: { ...current.mirror, stage: 'dual', window } };
      });
    const { digestElsewhere } = this.#options;
    const places = { families, files: store.files, uris };
    await new MirrorBootstrap({ ...places, pair: pair(), joined, digestElsewhere }).run(
      this.#stoppable(options),
    );
  }

  /**
   * Reads both instances back at one cut while writes go on, as far as that was not done before
   * (pair-validation.ts); the proof that they were equal there.
   * @throws `state.different`; `image.source-changed` when the cut was rewritten meanwhile: then
   *   ask again
   */
  async prove(options: ValidateOptions = {}, caller = this.#byHand): Promise<ProofOnFile> {
    const { store } = this.#options;
    const record = presentOf(store, await store.read());
    requireCaller(record, caller.claim);
    if (record.mirror?.stage !== 'dual')
      throw conflict(store, 'prove', 'it has no mirror in dual write');
    const migrationId = record.migration?.id ?? 'none';
    this.#held?.release();
    this.#held = null;
    const pair = this.#options.pair();
    return withPinned(pair, async (pinned) => {
      const { primary, mirror, keep } = pinned;
      if (mirror === null) throw conflict(store, 'prove', 'its mirror was left a moment ago');
      const { lastIndex } = primary.state();
      const by = caller.claim?.token;
      const mark = by ? `${by.lease}_${by.step}` : String(lastIndex);
      const name = `${migrationId}-${record.generation}-${mark}`;
      const keepReport = (report: EquivalenceReport) => this.#keepReport(name, report);
      const asked = { ...options, ...this.#stoppable(options), keepReport };
      const found = await this.#validation.compare(pair.engine, pinned, asked);
      const proof = makeProof({
        migrationId,
        generation: record.generation,
        source: { uris: primary.uris, digest: found.a },
        target: { uris: mirror.uris, digest: found.b },
        createdAt: found.at,
        readSince: found.readSince,
      });
      const file = `${name}.json`;
      await writeProof(store.files, join(store.directory.proofs, file), proof);
      this.#held = new HeldProof({ proof, lastIndex, since: keep(), pair });
      return { proof, file, bytesRead: found.bytesRead };
    });
  }

  /** A difference counts, whether or not its report can be kept. */
  async #keepReport(name: string, report: EquivalenceReport): Promise<string> {
    const { files, directory } = this.#options.store;
    const file = `${name}-difference.json`;
    try {
      await writeReport(files, join(directory.proofs, file), report);
      return `report: ${file}`;
    } catch (error) {
      return `its report could not be kept: ${String(error)}`;
    }
  }

  /**
   * Makes the mirror the primary, in a pause whose length does not depend on the state's size: what
   * changed since the proof is compared, then the record is swapped (EQ-5). What can be compared
   * and made durable before is, so that writers wait for little else than the swap and its stamps.
   * Dual write goes on in the other direction.
   * @param digest of the proof that it is to rest on; absent: the last one
   * @returns how long writers waited, in milliseconds
   * @throws `proof.stale` when there is none of this generation, or too much has changed since
   */
  async cutOver(digest?: string, caller = this.#byHand): Promise<number> {
    const held = this.#held;
    if (held?.pair !== this.#options.pair()) throw stale('none', digest ?? 'a cutover');
    if (digest !== undefined && held.proof.source.digest !== digest) {
      throw stale(held.proof.source.digest, digest);
    }
    await held.bringForward();
    const prepared = await this.#prepareCutover(held, caller);
    let pauseMs = 0;
    await this.#whileStill(async () => {
      const begun = performance.now();
      await this.#swap(prepared);
      pauseMs = performance.now() - begun;
    });
    return pauseMs;
  }

  async #prepareCutover(held: HeldProof, caller: Caller): Promise<PreparedCutover> {
    const { families, store } = this.#options;
    const record = await store.prepare((present) =>
      this.#changeOf('cutover', caller, { present, change: (from) => swapped(from, held) }),
    );
    const stamp = await prepareStamps({ files: store.files, families, record: record.record });
    return { held, caller, record, stamp };
  }

  async #swap(prepared: PreparedCutover): Promise<void> {
    const { held, caller } = prepared;
    const { engine } = this.#options.pair();
    await held.requireSameSince(engine, barrierBytes);
    if (!(await this.#take(prepared))) {
      await this.#change('cutover', caller, (present) => swapped(present, held));
    }
    engine.swap();
    held.release();
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

  /**
   * After a cutover: ends dual write, durably; then what was primary is moved aside, or deleted
   * where that is wished for, and fences stand at its places (CUT-8). Asked again, it goes on.
   * @returns where it lies now, by place
   * @throws `record.conflict` before a cutover, `instance.locked`
   */
  async finalize(options: { deletes: boolean }, caller = this.#byHand): Promise<string[]> {
    const { families, store } = this.#options;
    const next = options.deletes ? 'delete' : 'retire';
    await this.#requireLeftClosed();
    await this.#leave('finalize', caller, ({ wasPrimary }) => {
      if (wasPrimary) return { next, why: 'finalized' };
      throw conflict(store, 'finalize', 'it has not been cut over; "drop" gives a mirror up');
    });
    return settleFormer(store, families, caller.by);
  }

  /** Gives the mirror up, or what a failed one left, and deletes it. */
  async drop(caller = this.#byHand): Promise<void> {
    const { families, store } = this.#options;
    await this.#requireLeftClosed();
    await this.#leave('mirror-drop', caller, () => ({ next: 'delete', why: 'dropped' }));
    await settleFormer(store, families, caller.by);
  }

  /** @throws `instance.locked`: what was given to a failed mirror may still reach its files */
  async #requireLeftClosed(): Promise<void> {
    if (await within(this.#options.pair().engine.leftIsClosed, leftWithinMs)) return;
    const action = 'put away the mirror of';
    const instance = replicaText(this.#options.store.replica);
    const holder = 'this storage host, whose writes to it have not returned';
    throw fail('instance.locked', { action, instance, holder });
  }

  /** Ends dual write. What becomes of the mirror is durable with it, and done by settleFormer. */
  async #leave(
    event: string,
    caller: Caller,
    become: (left: Pick<FormerMirror, 'wasPrimary'>) => Pick<FormerMirror, 'next' | 'why'>,
  ): Promise<void> {
    const { store, pair } = this.#options;
    const { engine } = pair();
    const before = presentOf(store, await store.read());
    requireCaller(before, caller.claim);
    if (leftBy(before) === null) return;
    let detached: Instance | null = null;
    await this.#whileStill(async () => {
      await this.#change(event, caller, (record) => {
        const left = leftBy(record);
        if (left === null) return record;
        const tag = record.migration?.id ?? `g${record.generation}`;
        const { ref, wasPrimary } = left;
        return { ...record, mirror: null, former: { ref, wasPrimary, tag, ...become(left) } };
      });
      if (engine.mirror !== null) detached = engine.detach();
      this.#held?.release();
      this.#held = null;
      this.#validation.forget();
    });
    await (detached as Instance | null)?.close();
  }

  /**
   * Writes the record, then, durably, the stamps of what it names (CUT-2). When one of these writes
   * fails the record may name other sides than those that are being written: nothing more is
   * acknowledged then before the store has been opened by what the record says.
   */
  async #change(event: string, caller: Caller, change: ChangeOfRecord): Promise<void> {
    const { store, pair } = this.#options;
    const { instance } = pair();
    let isBegun = false;
    try {
      const written = await store.locked(async ({ record, write }) => {
        const changed = this.#changeOf(event, caller, { present: record, change });
        isBegun = true;
        return write(changed);
      });
      await this.#stamp(event, written);
    } catch (error) {
      if (isBegun) instance.poison(error);
      throw error;
    }
  }

  /** What was prepared, as {@link #change} does it; false when the record has changed since. */
  async #take({ record, stamp }: PreparedCutover): Promise<boolean> {
    const { store, pair } = this.#options;
    const { instance } = pair();
    try {
      if (!(await store.take(record))) return false;
      await stamp();
      return true;
    } catch (error) {
      instance.poison(error);
      throw error;
    }
  }

  async #stamp(event: string, record: BindingRecord): Promise<void> {
    const { families, store } = this.#options;
    // Of a mirror that joins the directory is new, and has no stamp that says whose it is.
    const made = event === 'dual-begin' ? record.mirror?.ref : undefined;
    await stampNamed({ files: store.files, families, record, ...(made && { made }) });
  }

  #changeOf(
    event: string,
    caller: Caller,
    { present, change }: { present: BindingRecord | null; change: ChangeOfRecord },
  ): RecordChange {
    const current = presentOf(this.#options.store, present);
    requireCaller(current, caller.claim);
    const next = { ...change(current), generation: current.generation + 1 };
    const details = { primary: next.primary.uris, mirror: next.mirror?.ref.uris ?? null };
    return { next, audit: audit(event, caller, details) };
  }

  get #byHand(): Caller {
    return { by: this.#options.by, claim: null };
  }
}

/** The mirror, or what a failed one left and nobody has dropped. */
function leftBy({ mirror, former }: BindingRecord): MirrorState | FormerMirror | null {
  return mirror ?? (former?.next === 'keep' ? former : null);
}

function audit(event: string, { by }: Caller, details: Readonly<Record<string, unknown>>) {
  return { event, by, details };
}

/** @throws `proof.stale` when the record is of another generation than the proof */
function swapped(record: BindingRecord, { proof }: HeldProof): BindingRecord {
  if (record.generation !== proof.generation) {
    throw stale(`generation ${record.generation}`, `generation ${proof.generation}`);
  }
  assert(record.mirror?.stage === 'dual', 'a cutover is of a pair');
  const { ref, window } = record.mirror;
  const left: MirrorState = { stage: 'dual', ref: record.primary, wasPrimary: true, window };
  return { ...record, primary: ref, mirror: left };
}

function stale(required: string, given: string): Error {
  return fail('proof.stale', { present: required, given });
}

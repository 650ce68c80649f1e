/**
 * One replica that a storage host serves: its store, the locks that make it the only one, and the
 * epoch that makes its client the only one.
 */
import { fail, messageOf } from '../core/errors.ts';
import { replicaText, type ReplicaName } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { BindingRecord } from '../schemas/binding-record.ts';
import { firstRecord } from '../storage/binding/first-record.ts';
import { settleFormer } from '../storage/binding/former-mirror.ts';
import { requireNotNewer } from '../storage/binding/generation-stamp.ts';
import { NamedPlaces } from '../storage/binding/named-instances.ts';
import { urisNow } from '../storage/binding/parking.ts';
import { RecordStore } from '../storage/binding/record-store.ts';
import type {
  DurableState,
  InstanceUris,
  Mutation,
  SnapshotMeta,
  SnapshotReader,
  SnapshotWriter,
} from '../storage/contracts.ts';
import { batchBytes, type EntryBatch } from '../storage/entry-batch.ts';
import type { FamilyRegistry } from '../storage/family-registry.ts';
import type { FileLayer, PathLock } from '../storage/file-layer.ts';
import { makeDirectories } from '../storage/files.ts';
import { lockInstance } from '../storage/instance-lock.ts';
import { entryTerm } from '../storage/replication/entry-term.ts';
import type { Pipeline } from '../storage/replication/group-commit.ts';
import { LatencyWindow, type LatencySummary } from '../storage/replication/latency-window.ts';
import { PairLatencies, type MirrorPolicy } from '../storage/replication/pair-engine.ts';
import type { WatchedAppends } from './append-guard.ts';
import { EntryRate } from './entry-rate.ts';
import { EpochFile } from './epoch-file.ts';
import { LiveMirror } from './live-mirror.ts';
import type { DigestElsewhere } from './restart-check.ts';
import { openStore, type OpenStore } from './open-store.ts';

export interface ServedReplicaOptions {
  readonly files: FileLayer;
  readonly families: FamilyRegistry;
  readonly stateDir: string;
  readonly replica: ReplicaName;
  /** Its instance where no record names one yet. */
  readonly uris: InstanceUris;
  /** Whether the instance is made where nothing is; never where a record says that it was there. */
  readonly create: boolean;
  /** What the records name, where that was read for many replicas; absent: it is read. */
  readonly named?: NamedPlaces;
  /** What is done about a mirror that fails (DUAL-8). */
  readonly policy: MirrorPolicy;
  /** How often a validation reads all of both sides, in seconds; 0: each does. */
  readonly fullValidationEverySeconds: number;
  /** Shows that a mirror restarts; absent where no other process can see the instances. */
  readonly digestElsewhere?: DigestElsewhere;
  /** For the audit trail: what serves it. */
  readonly by: string;
  /** Told how long each append took, in milliseconds. */
  readonly appended?: (ms: number) => void;
  readonly log: Log;
}

/** Who opens a session. */
export interface SessionOpener {
  /** Names the client's life; empty when it never resumes. */
  readonly opener: string;
  /** The epoch of its own session that it goes on with; 0 when it begins anew. */
  readonly resumes: bigint;
}

/** A client's session; every call of it names its epoch. */
export interface OpenedSession {
  readonly epoch: bigint;
  readonly state: DurableState;
  readonly lastTerm: bigint;
}

export interface ReplicaReport {
  readonly record: BindingRecord;
  readonly state: DurableState;
  readonly epoch: bigint;
  /** Since the store was opened. */
  readonly appendedEntries: bigint;
}

/** What {@link ServedReplica.latencies} tells of, in the last minute. */
const recentMs = 60_000;

/** `append`: from taking one to its acknowledgement; the others: on each side alone. */
export type ReplicaLatencies = Readonly<
  Record<'append' | 'primary' | 'mirror' | 'lag', LatencySummary>
>;

/** How long things take, in the life of the process. */
class Latencies extends PairLatencies {
  readonly append: LatencyWindow = new LatencyWindow();
}

export class ServedReplica {
  readonly replica: ReplicaName;
  /** Its second instance, and the way there and back. */
  readonly mirror: LiveMirror;
  readonly #options: ServedReplicaOptions;
  readonly #store: RecordStore;
  readonly #lock: PathLock;
  readonly #epoch: EpochFile;
  readonly #latencies: Latencies;
  #serving: OpenStore;
  /** Of the session that may write; 0 until one opens. */
  #admitted = 0n;
  #opening: Promise<unknown> = Promise.resolve();
  /** Why the store, having failed, could not be opened again. */
  #refusal: Error | null = null;
  readonly #rate = new EntryRate();
  #writtenBytes = 0;
  #closed = false;

  private constructor(parts: {
    options: ServedReplicaOptions;
    store: RecordStore;
    lock: PathLock;
    epoch: EpochFile;
    latencies: Latencies;
    serving: OpenStore;
  }) {
    this.#options = parts.options;
    this.replica = parts.options.replica;
    this.#store = parts.store;
    this.#lock = parts.lock;
    this.#epoch = parts.epoch;
    this.#latencies = parts.latencies;
    this.#serving = parts.serving;
    const { families, stateDir, by, digestElsewhere, fullValidationEverySeconds } = parts.options;
    const pair = () => this.#serving;
    const giveWay = () => this.#serving.commits.settled();
    this.mirror = new LiveMirror({
      families,
      store: parts.store,
      stateDir,
      pair,
      giveWay,
      by,
      digestElsewhere,
      fullValidationEverySeconds,
    });
  }

  /**
   * Takes the replica's lock, reads its record (or writes its first one), and opens its store,
   * recovered.
   * @throws `instance.locked` while another process serves it, `record.conflict` while a migration
   *   holds it stopped, `record.stamp-newer`, what opening the instance throws
   */
  static async start(options: ServedReplicaOptions): Promise<ServedReplica> {
    const { files, stateDir, replica } = options;
    const store = new RecordStore({ files, stateDir, replica, now: () => new Date() });
    await makeDirectories(files, store.directory.root);
    const lock = await lockReplica(store);
    try {
      const record = await recordOf(store, options, { mirrorIsLate: false });
      await settleLeft(store, options);
      const epoch = await EpochFile.open(files, store.directory.epoch);
      const latencies = new Latencies();
      const serving = await openStore(store, options, { record, latencies, before: null });
      return new ServedReplica({ options, store, lock, epoch, latencies, serving });
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  /**
   * Begins a session (CUT-3): no earlier one is admitted any more, what they gave is finished, then
   * the epoch rises, durably. After a failure the disk is read again first (LOG-8).
   * @throws `session.fenced` to one that resumes when another has opened since: nothing changes
   */
  open({ opener, resumes }: SessionOpener): Promise<OpenedSession> {
    const opened = this.#opening.then(async () => {
      this.#requireServed();
      if (resumes > 0n && opener !== this.#epoch.opener) throw this.#fenced(resumes);
      this.#admitted = 0n;
      await this.#serving.commits.drained();
      if (this.#serving.instance.isPoisoned) await this.#reopen();
      const epoch = await this.#epoch.raise(opener);
      this.#admitted = epoch;
      const { instance } = this.#serving;
      const state = instance.state();
      return { epoch, state, lastTerm: (await entryTerm(instance, state.lastIndex)) ?? 0n };
    });
    this.#opening = opened.catch(() => {});
    return opened;
  }

  /**
   * One mutation of the session, durable when resolved; in the order of the calls.
   * @param pipeline of those that are not to be applied after one of them has failed
   * @throws `session.fenced`, and what {@link Instance.apply} throws
   */
  apply(epoch: bigint, mutation: Mutation, pipeline?: Pipeline): Promise<void> {
    this.requireAdmitted(epoch);
    const applied = this.#serving.commits.apply(mutation, pipeline);
    if (mutation.entries === undefined) return applied;
    for (const batch of mutation.entries.batches) this.#writtenBytes += batchBytes(batch);
    return this.#timed(applied);
  }

  async #timed(append: Promise<void>): Promise<void> {
    const begun = performance.now();
    await append;
    const took = performance.now() - begun;
    this.#latencies.append.note(took);
    this.#options.appended?.(took);
  }

  /** Of the last minute. */
  latencies(): ReplicaLatencies {
    const { append, primary, mirror, lag } = this.#latencies;
    const since = performance.now() - recentMs;
    return {
      append: append.summary(since),
      primary: primary.summary(since),
      mirror: mirror.summary(since),
      lag: lag.summary(since),
    };
  }

  /** For who makes room for them. */
  get appends(): WatchedAppends {
    return { latency: this.#latencies.append, bytes: () => this.#writtenBytes };
  }

  get hasSession(): boolean {
    return this.#admitted !== 0n;
  }

  /** Why it is not served although it was: its store has failed, and cannot be opened again. */
  get refusal(): Error | null {
    return this.#refusal;
  }

  /** Whether the store stands still until the client opens again (LOG-8). */
  get isPoisoned(): boolean {
    return this.#serving.instance.isPoisoned;
  }

  /** Over the last ten seconds. */
  get entriesPerSecond(): number {
    return this.#rate.perSecond;
  }

  /** Since the store was opened. */
  get appendedEntries(): bigint {
    return this.#serving.commits.appendedEntries;
  }

  async beginSnapshot(epoch: bigint, meta: SnapshotMeta): Promise<SnapshotWriter> {
    this.requireAdmitted(epoch);
    return this.#serving.instance.snapshots.begin(meta);
  }

  get store(): RecordStore {
    return this.#store;
  }

  /** For operators. */
  async status(): Promise<ReplicaReport> {
    const record = await this.#store.read();
    if (record === null) {
      const path = this.#store.directory.record;
      throw fail('record.missing', { action: 'show', replica: replicaText(this.replica), path });
    }
    const state = this.#serving.instance.state();
    const { appendedEntries } = this;
    return { record, state, appendedEntries, epoch: this.#epoch.epoch };
  }

  async state(): Promise<Omit<OpenedSession, 'epoch'>> {
    const { instance } = this.#serving;
    const state = instance.state();
    return { state, lastTerm: (await entryTerm(instance, state.lastIndex)) ?? 0n };
  }

  read(first: bigint, last: bigint): AsyncIterable<EntryBatch> {
    return this.#serving.instance.read(first, last);
  }

  latestSnapshot(): Promise<SnapshotReader | null> {
    return this.#serving.instance.snapshots.latest();
  }

  /** Makes the watermark follow what was acknowledged; called now and then. */
  async advanceWatermark(): Promise<void> {
    this.#rate.note(this.appendedEntries);
    if (!this.#serving.instance.isPoisoned) await this.#serving.engine.watermark.advance();
  }

  /** Ends every session, finishes what was given, and lets go of everything. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#admitted = 0n;
    await this.#opening;
    try {
      await this.mirror.stop();
      await this.#serving.commits.drained();
      // One that lies behind is safe.
      await this.advanceWatermark().catch(() => {});
      await this.#serving.instance.close();
    } finally {
      await this.#lock.release();
    }
  }

  async #reopen(): Promise<void> {
    // It has failed already; what matters is that its locks are gone.
    await this.#serving.instance.close().catch(() => {});
    try {
      const { mirrorIsLate } = this.#serving.engine;
      const record = await recordOf(this.#store, this.#options, { mirrorIsLate });
      const opening = { record, latencies: this.#latencies, before: this.#serving };
      this.#serving = await openStore(this.#store, this.#options, opening);
      this.#refusal = null;
    } catch (error) {
      this.#refusal = error instanceof Error ? error : new Error(String(error));
      throw error;
    }
  }

  #requireServed(): void {
    if (!this.#closed) return;
    throw fail('instance.closed', { action: 'open', instance: replicaText(this.replica) });
  }

  /** @throws `session.fenced` */
  requireAdmitted(epoch: bigint): void {
    if (epoch === 0n || epoch !== this.#admitted) throw this.#fenced(epoch);
  }

  #fenced(epoch: bigint): Error {
    return fail('session.fenced', {
      replica: replicaText(this.replica),
      epoch,
      current: this.#epoch.epoch,
    });
  }
}

/** Held by whoever writes to the replica's instances. @throws `instance.locked` */
export async function lockReplica(store: RecordStore): Promise<PathLock> {
  const { files, directory, replica } = store;
  const path = directory.lock;
  await (await files.open(path, (await files.stat(path)) ? 'read-write' : 'create')).close();
  const instance = replicaText(replica);
  return lockInstance(files, { instance, path, kind: 'exclusive', action: 'serve' });
}

/**
 * The record, or the first one; it must leave the replica to its process.
 * @param mirrorIsLate its disk does not answer: this process has had it open, as the record says
 */
async function recordOf(
  store: RecordStore,
  options: ServedReplicaOptions,
  { mirrorIsLate }: { readonly mirrorIsLate: boolean },
): Promise<BindingRecord> {
  const { files, families, stateDir, replica, uris, by } = options;
  return store.locked(async ({ record, write, confirm }) => {
    if (record !== null) {
      requireFree(record);
      // A record from before a promotion, put back, would take its primary for a mirror.
      const mirror = record.mirror?.stage === 'dual' && !mirrorIsLate ? record.mirror : null;
      const named = mirror === null ? [] : [urisNow(families, mirror.ref)];
      await requireNotNewer({ files, families, replica, record, named });
      await confirm();
      return record;
    }
    const named = options.named ?? (await NamedPlaces.read({ families, files, stateDir }));
    await named.claim(replica, uris);
    await requireNotNewer({ files, families, replica, record, named: [uris] });
    await makePrimary(options);
    const next = firstRecord(replica, uris);
    return write({ next, audit: { event: 'serve', by, details: { primary: uris } } });
  });
}

function requireFree({ replica, migration }: BindingRecord): void {
  if (migration === null || migration.mode !== 'stopped') return;
  throw fail('record.conflict', {
    action: 'serve',
    replica: replicaText(replica),
    required: 'no migration may hold it stopped',
    actual: `${migration.id} does, in phase ${migration.phase}`,
  });
}

/** What a kill left of a former mirror; it is not in the way of serving. */
async function settleLeft(store: RecordStore, options: ServedReplicaOptions): Promise<void> {
  const { families, by, log } = options;
  try {
    await settleFormer(store, families, by);
  } catch (error) {
    const reason = messageOf(error);
    const replica = replicaText(store.replica);
    log(`${replica}: its former mirror could not be put away: ${reason}`, { replica }, 'warn');
  }
}

/** Before the record names it: a record never names what was never there. */
async function makePrimary(options: ServedReplicaOptions): Promise<void> {
  const { families, files, uris, create } = options;
  const family = families.familyOf(uris);
  if (!create || (await family.occupied(uris, { files })) !== null) return;
  await (await family.open(uris, 'create', { files })).close();
}

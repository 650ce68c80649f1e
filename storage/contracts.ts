/**
 * The storage contract: what every family implements and everything above it relies on.
 *
 * - Indexes and terms are signed 64-bit, as `bigint`.
 * - A resolved promise means durable, unless a method says otherwise.
 * - An instance serialises its mutations; reads may run beside them and see the state before or
 *   after.
 */
import type { EntryBatch } from './entry-batch.ts';
import type { FileLayer } from './file-layer.ts';

/** Opaque values that a Raft library needs back; keys are UTF-8 text. */
export type Auxiliary = ReadonlyMap<string, Uint8Array>;

/**
 * Metadata. `votedFor` null is "none" (an empty vote, or braft's ANY peer); else its bytes as
 * given.
 */
export interface RaftMeta {
  readonly term: bigint;
  readonly votedFor: Uint8Array | null;
  readonly auxiliary: Auxiliary;
}

/** A change of metadata; what is absent stays. In `auxiliary`, null removes the key. */
export interface MetaUpdate {
  readonly term?: bigint;
  readonly votedFor?: Uint8Array | null;
  readonly auxiliary?: ReadonlyMap<string, Uint8Array | null>;
}

export interface SnapshotMeta {
  readonly lastIncludedIndex: bigint;
  readonly lastIncludedTerm: bigint;
  /** Texts exactly as stored. */
  readonly peers: readonly string[];
  readonly oldPeers: readonly string[];
  readonly auxiliary: Auxiliary;
}

/**
 * One file of a snapshot's tree. `path` is relative, UTF-8, "/"-separated. `userMeta` is opaque to
 * everyone but the family it came from (braft: the serialized LocalFileMeta); null when absent.
 */
export interface SnapshotFile {
  readonly path: string;
  readonly bytes: number;
  readonly userMeta: Uint8Array | null;
}

/** A snapshot that stays readable until closed, whatever is published meanwhile (LOG-7). */
export interface SnapshotReader {
  readonly meta: SnapshotMeta;
  /** Sorted by the bytes of `path`. */
  readonly files: readonly SnapshotFile[];
  /** Directory that holds the tree on disk, or null (memory). */
  readonly treePath: string | null;
  /**
   * The file's bytes in order, in pieces of at most 1 MiB.
   * @throws `snapshot.file-missing`
   */
  read(path: string): AsyncIterable<Buffer>;
  close(): Promise<void>;
}

/** A snapshot made durable but not published; give it to {@link Instance.apply}, or abort it. */
export interface PreparedSnapshot {
  readonly meta: SnapshotMeta;
  abort(): Promise<void>;
}

/** One that was prepared under a tag before this opening, and neither published nor aborted. */
export interface FoundSnapshot extends PreparedSnapshot {
  readonly tag: string;
  /** Sorted by the bytes of `path`. */
  readonly files: readonly SnapshotFile[];
}

/**
 * Writes a snapshot's tree. One writer at a time for an instance. A failed sync poisons the
 * instance (LOG-8); any other failure concerns this snapshot alone.
 */
export interface SnapshotWriter {
  /**
   * Adds one file; its bytes are durable after {@link prepare}.
   * @throws `snapshot.invalid-path` for a name outside the tree or given twice
   */
  file(
    file: { readonly path: string; readonly userMeta: Uint8Array | null },
    bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void>;
  /**
   * Makes everything written durable, without publishing it. With a tag it outlives this opening:
   * the next one finds it ({@link SnapshotStorage.found}). Without one the next opening removes it.
   * @param tag 1 to 64 of A-Z a-z 0-9 . _ -, used once
   */
  prepare(tag?: string): Promise<PreparedSnapshot>;
  /** Removes everything written. */
  abort(): Promise<void>;
}

export interface SnapshotStorage {
  /** The published snapshot, opened; null when there is none. */
  latest(): Promise<SnapshotReader | null>;
  begin(meta: SnapshotMeta): Promise<SnapshotWriter>;
  /**
   * What a crash left prepared under tags (DUAL-7), to be published or aborted before the next
   * {@link begin}. Empty of an instance that is open read-only.
   */
  found(): Promise<readonly FoundSnapshot[]>;
}

/** What a replica would see after a restart. Empty log: `lastIndex === firstIndex - 1n`. */
export interface DurableState {
  readonly firstIndex: bigint;
  readonly lastIndex: bigint;
  readonly meta: RaftMeta;
  readonly snapshot: SnapshotMeta | null;
}

/**
 * One acknowledged change (LOG-1). Its parts become durable in the order: snapshot, reset,
 * truncate, term and vote, entries, other metadata; or all at once.
 */
export interface Mutation {
  readonly snapshot?: PreparedSnapshot;
  /** The log becomes empty at `[reset, reset - 1]`. */
  readonly reset?: bigint;
  readonly truncate?: { readonly firstKept: bigint } | { readonly lastKept: bigint };
  /** Contiguous batches; the first entry's index is `after + 1` (LOG-4). */
  readonly entries?: { readonly after: bigint; readonly batches: readonly EntryBatch[] };
  readonly meta?: MetaUpdate;
}

export interface ReadOptions {
  /** A batch holds at most this many bytes of canonical entries, one larger entry aside. */
  readonly maxBytes?: number;
  /**
   * The reader is done with each batch before it asks for the one after the next: its memory may
   * then be used again. Otherwise a batch keeps its bytes.
   */
  readonly passing?: boolean;
  /**
   * Payloads may be left unchecked where the batch has their `statedCrc32c`: the reader holds them
   * against the same bytes, checked elsewhere. Everything else is checked.
   */
  readonly statesPayloads?: boolean;
}

/** One replica's durable state in one family. */
export interface Instance {
  readonly uris: InstanceUris;
  readonly family: string;
  /** The state as of the last acknowledged mutation. Cheap; no I/O. */
  state(): DurableState;
  /**
   * Entries `from..to` inclusive, verified, in order.
   * @throws `log.out-of-range`, `data.corrupt`
   */
  read(from: bigint, to: bigint, options?: ReadOptions): AsyncIterable<EntryBatch>;
  /**
   * Applies one mutation; durable when resolved. A refusal (LOG-2 to LOG-7) changes nothing; any
   * other failure poisons the instance (LOG-8).
   * @throws the `log.*`, `meta.*`, `snapshot.*` refusals, `limit.exceeded`, `instance.poisoned`
   */
  apply(mutation: Mutation): Promise<void>;
  readonly snapshots: SnapshotStorage;
  /** Anything that a reader of this state should know but that does not stop it. */
  readonly warnings: readonly string[];
  /**
   * What a node would lose or misread when it starts here: a migration refuses it. A record that a
   * crash tore off the end of the log is none.
   */
  readonly hazards: readonly string[];
  close(): Promise<void>;
}

/**
 * An instance being filled by an import: not an instance until {@link publish}. Opening it
 * otherwise is refused (`instance.staging`). Only {@link checkpoint} and {@link publish} make
 * anything durable.
 */
export interface StagingInstance {
  readonly uris: InstanceUris;
  /**
   * What the last checkpoint said; null at the start. Everything after it is gone after a crash.
   */
  readonly progress: StagingProgress | null;
  /** Whether {@link append} would make `payloadCrc32c` itself where a batch comes without. */
  readonly wantsPayloadCrc32c?: boolean;
  /** Sets where the log begins; once, before the first {@link append}. */
  begin(firstIndex: bigint): Promise<void>;
  /**
   * Appends the next entries. Not durable before the next checkpoint. When it resolves the giver
   * may use the batch's bytes again.
   */
  append(batch: EntryBatch): Promise<void>;
  setMeta(meta: RaftMeta): Promise<void>;
  /** The snapshot of the staged state; commits with `prepare()`; a second one replaces it. */
  snapshot(meta: SnapshotMeta): Promise<SnapshotWriter>;
  checkpoint(progress: StagingProgress): Promise<void>;
  /** Everything durable, then the one atomic step that makes it an instance. Closes. */
  publish(): Promise<void>;
  /** Lets go of it; it stays a staging place that can be resumed. */
  close(): Promise<void>;
}

/** JSON of an importer's own making, with what the family must know to cut back to it. */
export interface StagingProgress {
  /** Last log index that is durable; `firstIndex - 1n` when none. */
  readonly lastIndex: bigint;
  readonly firstIndex: bigint;
  /** Opaque to the family; at most 64 KiB. */
  readonly note: Readonly<Record<string, unknown>>;
}

/** Addresses of one instance. `snapshot` is empty where a replica keeps none (braft allows it). */
export interface InstanceUris {
  readonly log: string;
  readonly meta: string;
  readonly snapshot: string;
  /** Names the replica where a store is shared by groups: braft's `<group>_<idx>`. */
  readonly groupId?: string;
}

/** A directory that belongs to an instance, and that a process configuration may name. */
export interface InstancePlace {
  readonly role: 'log' | 'meta' | 'snapshot' | 'all';
  /** Absolute, normalised. */
  readonly path: string;
  /** Shared with other groups: never fenced, moved, parked or sealed. */
  readonly shared: boolean;
}

/** What a family cannot hold; each check answers null, or what is wrong, in words (FAM-10). */
export interface FamilyLimits {
  readonly minIndex: bigint;
  readonly maxIndex: bigint;
  readonly maxPayloadBytes: number;
  /** Whether a NO_OP may carry a payload (braft drops it when reading). */
  readonly noOpPayload: boolean;
  votedFor(bytes: Uint8Array): string | null;
  path(path: string): string | null;
}

/**
 * `create` makes a new, empty instance; `read-write` and `create` are exclusive, `read-only`
 * shared.
 */
export type OpenMode = 'read-only' | 'read-write' | 'create';

export interface OpenContext {
  readonly files: FileLayer;
  /**
   * Read-only: the opener reads the whole log next. Checks of what it will read may wait until
   * then; they are made all the same, and refuse with the same errors.
   */
  readonly readsAll?: boolean;
}

/** One way to keep durable Raft state. Added by one module and one registration (FAM-6). */
export interface Family {
  readonly name: string;
  /** URI schemes; the first is the one it writes. */
  readonly schemes: readonly string[];
  readonly formatVersion: string;
  readonly limits: FamilyLimits;
  /** The three URIs of the short form. */
  expand(uri: string): InstanceUris;
  /** Directories of the instance; empty for a family without any. Deterministic, no I/O. */
  places(uris: InstanceUris): readonly InstancePlace[];
  /** The same instance with every unshared place moved by `move`. */
  relocate(uris: InstanceUris, move: (path: string) => string): InstanceUris;
  /**
   * @throws `instance.missing`, `instance.not-empty` (create), `instance.locked`,
   * `instance.staging`,
   *   `data.corrupt`, `meta.conflict`
   */
  open(uris: InstanceUris, mode: OpenMode, context: OpenContext): Promise<Instance>;
  /**
   * A new staging place, or the one that is there, cut back to its last checkpoint; exclusive.
   * @throws `instance.not-empty` when something other than a staging place is there
   */
  stage(uris: InstanceUris, context: OpenContext): Promise<StagingInstance>;
  /** What is there, in words; null when empty: absent, or empty directories. */
  occupied(uris: InstanceUris, context: OpenContext): Promise<string | null>;
  /**
   * Takes away what the instance wrote at places that it shares with other replicas (those of its
   * own are moved and removed by their names). Durable when resolved; done already is as good.
   * Absent where a family's instances share nothing.
   * @throws `instance.locked` while another process has the shared place open
   */
  withdraw?(uris: InstanceUris, context: OpenContext): Promise<void>;
}

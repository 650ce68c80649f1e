/** The state digest and counts of a stream of sections, taken as they pass. */
import { assert } from '../../core/errors.ts';
import type { RaftMeta, SnapshotMeta } from '../contracts.ts';
import { batchBytes, type EntryBatch } from '../entry-batch.ts';
import {
  LogDigest,
  metaDigest,
  rootDigest,
  SnapshotDigest,
  type DigestedFile,
  type KnownFile,
  type LeafHashes,
  type LogDigestOptions,
} from './digest-tree.ts';
import type { StateCounts, StateSection } from './state-stream.ts';

/** The digest of one state, hexadecimal, with what a comparison needs to find a difference. */
export interface StateDigest {
  readonly root: string;
  readonly parts: { readonly log: string; readonly meta: string; readonly snapshot: string };
  readonly range: { readonly firstIndex: bigint; readonly lastIndex: bigint };
  readonly detail: StateDetail;
}

export interface StateDetail {
  /** Node hashes; node 0 holds the first index. */
  readonly nodes: readonly Buffer[];
  readonly meta: RaftMeta;
  readonly snapshot: SnapshotMeta | null;
  readonly files: readonly DigestedFile[];
}

export interface StateDigesterOptions extends LogDigestOptions {
  /** Files of this very snapshot: their bytes are not fed. */
  readonly knownFile?: KnownFile;
}

export class StateDigester {
  readonly #options: StateDigesterOptions;
  readonly #snapshot: SnapshotDigest;
  #log: LogDigest | null = null;
  #meta: RaftMeta | null = null;
  #lastIndex = 0n;
  #entryBytes = 0;
  #fileBytes = 0;

  constructor(options: StateDigesterOptions = {}) {
    this.#options = options;
    this.#snapshot = new SnapshotDigest(options.knownFile);
  }

  /** Where a checkpoint lets it begin; null for the whole log. */
  get resumesAt(): bigint | null {
    const { resume } = this.#options;
    return resume === undefined ? null : BigInt(resume.nextIndex);
  }

  /** What has passed of the snapshot's files, whole. */
  get files(): readonly DigestedFile[] {
    return this.#snapshot.files;
  }

  get log(): LogDigest {
    assert(this.#log !== null, 'a range comes before entries');
    return this.#log;
  }

  add(section: StateSection): void {
    switch (section.kind) {
      case 'range':
        this.#log = new LogDigest(section.firstIndex, this.#options);
        this.#lastIndex = section.lastIndex;
        return;
      case 'meta':
        this.#meta = section.meta;
        return;
      case 'entries':
        return this.addEntries(section.batch);
      case 'snapshot':
        return this.#snapshot.begin(section.meta);
      case 'file':
        return this.#snapshot.file(section.file);
      case 'fileBytes':
        this.#fileBytes += section.bytes.length;
        return this.#snapshot.bytes(section.bytes);
      case 'end':
        return;
    }
  }

  /** As {@link add} does; `shared` as of {@link LogDigest.append}. */
  addEntries(batch: EntryBatch, shared?: LeafHashes): void {
    this.#entryBytes += batchBytes(batch);
    this.log.append(batch, shared);
  }

  /** Requires the whole state to have passed. `entryBytes` counts what was fed here. */
  finish(): { digest: StateDigest; counts: StateCounts } {
    const { log } = this;
    assert(this.#meta !== null, 'metadata comes before the end');
    assert(log.nextIndex === this.#lastIndex + 1n, 'the whole log passed');
    const { firstIndex } = log;
    const parts = {
      log: log.root(),
      meta: metaDigest(this.#meta),
      snapshot: this.#snapshot.root(),
    };
    const { files, meta: snapshot } = this.#snapshot;
    const digest = {
      root: rootDigest(parts).toString('hex'),
      parts: {
        log: parts.log.toString('hex'),
        meta: parts.meta.toString('hex'),
        snapshot: parts.snapshot.toString('hex'),
      },
      range: { firstIndex, lastIndex: this.#lastIndex },
      detail: { nodes: log.nodes(), meta: this.#meta, snapshot, files },
    };
    const counts = {
      entries: Number(this.#lastIndex - firstIndex + 1n),
      entryBytes: this.#entryBytes,
      files: files.length,
      fileBytes: this.#fileBytes,
    };
    return { digest, counts };
  }
}

/**
 * Fills a staging place from a stream of sections, checkpointing on the way, and continues where an
 * interrupted import stopped.
 *
 * A checkpoint's note says what was being imported: the outline of the source (range, metadata),
 * the hash of the last durable entry and, where the stream is digested, of the whole log up to it.
 * What does not match is refused, nothing is cut back. By Raft's log matching an equal entry at
 * the end means an equal log before it; the comparison after the import shows it (EQ-3).
 */
import { Blake3Hasher } from '@napi-rs/blake-hash';

import { assert, fail } from '../../core/errors.ts';
import type { RaftMeta, SnapshotMeta, StagingInstance } from '../contracts.ts';
import {
  batchBytes,
  canonicalBytes,
  lastIndexOf,
  sliceBatch,
  type EntryBatch,
} from '../entry-batch.ts';
import { encodeSnapshotMeta } from './canonical-encoding.ts';
import { metaDigest } from './digest-tree.ts';
import { SnapshotPipe } from './snapshot-pipe.ts';
import type { StateDigester } from './state-digester.ts';
import type { StateSection, StateStream } from './state-stream.ts';

/** A checkpoint waits for all that was written: every 64 MiB that was a twentieth of the work. */
const checkpointBytes = 256 * 1024 * 1024;
/** On a slow source, no more than this is lost by a crash. */
const checkpointMs = 5000;

const noteFormat = 'quorumshift-import/1';

/** The opaque part of a staging place's progress, as this importer writes it. */
export interface ImportNote {
  readonly format: typeof noteFormat;
  readonly lastIndex: string;
  readonly meta: string;
  /** BLAKE3 of the last durable entry; null before the first. */
  readonly lastEntry: string | null;
  /** The log's digest up to it; null where the stream was not digested. */
  readonly prefix: string | null;
  /** Hash of the snapshot's metadata, or "none", once everything is in; null before. */
  readonly snapshot: string | null;
}

export interface ImportOptions {
  readonly staging: StagingInstance;
  /** Fed with the whole stream: a resumed beginning is then proved equal, hash by hash. */
  readonly digester?: StateDigester;
  /** The stream leaves out the snapshot's files, because an earlier attempt ended with them. */
  readonly keepsSnapshot?: boolean;
  /** For tests: smaller steps. */
  readonly checkpointBytes?: number;
}

/**
 * Consumes the whole stream into the staging place and makes it durable; does not publish. What a
 * former attempt made durable is skipped.
 * @throws `image.resume-mismatch` when the staging place holds another source's beginning; whatever
 *   the stream or the staging place throws
 */
export async function importState(stream: StateStream, options: ImportOptions): Promise<void> {
  const importer = new StateImporter(options);
  try {
    for await (const section of stream) await importer.add(section);
    await importer.finish();
  } catch (error) {
    await importer.abandon();
    throw error;
  }
}

/** The note of an earlier attempt on this staging place; null at the start. */
export function importNote(staging: StagingInstance): ImportNote | null {
  const { progress } = staging;
  if (progress === null) return null;
  const note = progress.note as Partial<ImportNote>;
  if (note.format === noteFormat) return note as ImportNote;
  throw mismatch('what is staged there was not written by an import');
}

function mismatch(actual: string): Error {
  return fail('image.resume-mismatch', { action: 'import', actual });
}

export function entryHash(entry: EntryBatch): string {
  return Blake3Hasher.deriveKey('quorumshift import entry v1', canonicalBytes(entry)).toString(
    'hex',
  );
}

class StateImporter {
  readonly #staging: StagingInstance;
  readonly #options: ImportOptions;
  readonly #found: ImportNote | null;
  #range = { firstIndex: 0n, lastIndex: -1n };
  #appended = -1n;
  #meta: RaftMeta | null = null;
  #lastEntry: string | null;
  #uncheckedBytes = 0;
  #checkpointedMs = performance.now();
  #snapshot: string | null = null;
  #files: SnapshotPipe | null = null;

  constructor(options: ImportOptions) {
    this.#options = options;
    this.#staging = options.staging;
    this.#found = importNote(options.staging);
    this.#lastEntry = this.#found?.lastEntry ?? null;
  }

  async add(section: StateSection): Promise<void> {
    // Entries are digested in step with the checkpoints, by #addEntries.
    if (section.kind !== 'entries') this.#options.digester?.add(section);
    switch (section.kind) {
      case 'range':
        return this.#begin(section.firstIndex, section.lastIndex);
      case 'meta':
        return this.#saveMeta(section.meta);
      case 'entries':
        return this.#addEntries(section.batch);
      case 'snapshot':
        return this.#beginSnapshot(section.meta);
      case 'file':
        return this.#files?.begin(section.file);
      case 'fileBytes':
        return this.#files?.push(section.bytes);
      case 'end':
        return;
    }
  }

  async finish(): Promise<void> {
    assert(this.#appended === this.#range.lastIndex, 'the stream held the whole log');
    await this.#files?.prepare();
    await this.#checkpoint(this.#snapshot);
  }

  async abandon(): Promise<void> {
    await this.#files?.abandon();
  }

  async #begin(firstIndex: bigint, lastIndex: bigint): Promise<void> {
    this.#range = { firstIndex, lastIndex };
    const { progress } = this.#staging;
    this.#appended = progress?.lastIndex ?? firstIndex - 1n;
    if (progress === null) return this.#staging.begin(firstIndex);
    if (progress.firstIndex !== firstIndex || this.#found?.lastIndex !== lastIndex.toString()) {
      const begun = `${progress.firstIndex}..${this.#found?.lastIndex}`;
      throw mismatch(`the range was ${begun}, now it is ${firstIndex}..${lastIndex}`);
    }
  }

  async #saveMeta(meta: RaftMeta): Promise<void> {
    this.#meta = meta;
    if (this.#found === null) {
      await this.#staging.setMeta(meta);
      return this.#checkpoint(null);
    }
    if (metaDigest(meta).toString('hex') !== this.#found.meta) {
      throw mismatch('the metadata has changed since');
    }
  }

  /** What is durable already only passes the digest; the rest is appended. */
  async #addEntries(batch: EntryBatch): Promise<void> {
    const known = Math.min(batch.count, Number(this.#appended - batch.firstIndex) + 1);
    assert(known >= 0, 'entries come without a gap');
    if (known > 0) this.#passKnown(sliceBatch(batch, 0, known));
    if (known < batch.count) await this.#append(sliceBatch(batch, known, batch.count));
  }

  #passKnown(batch: EntryBatch): void {
    const { digester } = this.#options;
    digester?.add({ kind: 'entries', batch });
    if (lastIndexOf(batch) !== this.#appended || this.#found === null) return;
    const { lastEntry, prefix } = this.#found;
    const same =
      entryHash(sliceBatch(batch, batch.count - 1, batch.count)) === lastEntry &&
      (digester === undefined || digester.log.root().toString('hex') === prefix);
    if (!same) throw mismatch(`the log up to entry ${this.#appended} is another one`);
  }

  async #append(batch: EntryBatch): Promise<void> {
    this.#options.digester?.add({ kind: 'entries', batch });
    await this.#staging.append(batch);
    this.#appended = lastIndexOf(batch);
    this.#uncheckedBytes += batchBytes(batch);
    if (!this.#checkpointIsDue()) return;
    this.#lastEntry = entryHash(sliceBatch(batch, batch.count - 1, batch.count));
    await this.#checkpoint(null);
  }

  async #beginSnapshot(meta: SnapshotMeta | null): Promise<void> {
    this.#snapshot = snapshotName(meta);
    const staged = this.#found?.snapshot ?? null;
    if (staged !== null && staged !== this.#snapshot) throw mismatch('the snapshot is another one');
    if (meta === null || this.#options.keepsSnapshot === true) return;
    this.#files = new SnapshotPipe(await this.#staging.snapshot(meta));
  }

  #checkpointIsDue(): boolean {
    const due = this.#options.checkpointBytes ?? checkpointBytes;
    if (this.#appended === this.#range.lastIndex || this.#uncheckedBytes >= due) return true;
    return performance.now() - this.#checkpointedMs >= checkpointMs;
  }

  async #checkpoint(snapshot: string | null): Promise<void> {
    assert(this.#meta !== null, 'metadata comes before a checkpoint');
    const { digester } = this.#options;
    const note: ImportNote = {
      format: noteFormat,
      lastIndex: this.#range.lastIndex.toString(),
      meta: metaDigest(this.#meta).toString('hex'),
      lastEntry: this.#lastEntry,
      prefix: digester === undefined ? null : digester.log.root().toString('hex'),
      snapshot,
    };
    await this.#staging.checkpoint({
      firstIndex: this.#range.firstIndex,
      lastIndex: this.#appended,
      note: { ...note },
    });
    this.#uncheckedBytes = 0;
    this.#checkpointedMs = performance.now();
  }
}

function snapshotName(meta: SnapshotMeta | null): string {
  if (meta === null) return 'none';
  const bytes = encodeSnapshotMeta(meta);
  return Blake3Hasher.deriveKey('quorumshift import snapshot v1', bytes).toString('hex');
}

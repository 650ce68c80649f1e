/**
 * The log of an instance that is open for writing. Files are as braft would have left them; beyond
 * braft, a segment is synced before it is closed, and a directory after each change of its names.
 */
import { join } from 'node:path';

import { assert } from '../../../core/errors.ts';
import type { EntryBatch } from '../../entry-batch.ts';
import type { FileHandle, FileLayer } from '../../file-layer.ts';
import { removeTree } from '../../files.ts';
import type { LoadedLog } from './load-log.ts';
import { removeIntent, writeIntent, type LogIntent } from './log-intent.ts';
import { recordOffset, type ReadableLog } from './log-reader.ts';
import { encodeLogMeta } from './messages.ts';
import { writeProtobufFile } from './protobuf-file.ts';
import { logMetaName } from './segment-name.ts';
import { SegmentRun } from './segment-run.ts';
import { Segment } from './segment.ts';

export interface LogWriterOptions {
  readonly files: FileLayer;
  readonly directory: string;
  readonly maxSegmentBytes: number;
}

export class LogWriter implements ReadableLog {
  readonly files: FileLayer;
  readonly directory: string;
  readonly #maxSegmentBytes: number;
  #segments: Segment[];
  #firstIndex: bigint;
  #generation = 0;
  #removal: Promise<void> = Promise.resolve();
  /** The open segment's file, once it has been written to; its writes are durable. */
  #file: FileHandle | null = null;
  #hasNewName = false;

  constructor(options: LogWriterOptions, log: LoadedLog) {
    this.files = options.files;
    this.directory = options.directory;
    this.#maxSegmentBytes = options.maxSegmentBytes;
    this.#segments = [...log.segments];
    this.#firstIndex = log.firstIndex;
  }

  get segments(): readonly Segment[] {
    return this.#segments;
  }

  get firstIndex(): bigint {
    return this.#firstIndex;
  }

  get lastIndex(): bigint {
    const last = this.#segments.at(-1)?.last;
    return last !== undefined && last >= this.#firstIndex ? last : this.#firstIndex - 1n;
  }

  get generation(): number {
    return this.#generation;
  }

  settled(): Promise<void> {
    return this.#removal;
  }

  /**
   * Does what braft does when it opens the log: removes doomed files, cuts off torn tails; durably.
   */
  async repair(repairs: LoadedLog['repairs']): Promise<void> {
    for (const { path, bytes } of repairs.cut) {
      const file = await this.files.open(path, 'read-write');
      try {
        await file.truncate(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
    }
    for (const path of repairs.remove) await removeTree(this.files, path);
    await this.files.syncDirectory(this.directory);
  }

  /** Completes an intent that was found; doing it twice is doing it once. */
  async complete(intent: LogIntent): Promise<void> {
    await this.#perform(intent);
    await removeIntent(this.files, this.directory);
  }

  /** [n, n - 1], whatever was there (LOG-2). */
  async reset(to: bigint): Promise<void> {
    // Above the end, saving log_meta alone makes every segment doomed.
    if (to > this.lastIndex && this.#segments.every((segment) => segment.last < to)) {
      return this.truncatePrefix(to);
    }
    await this.#removing({ kind: 'reset', to });
  }

  /** Drops entries below `firstKept`. */
  async truncatePrefix(firstKept: bigint): Promise<void> {
    await this.#saveFirstIndex(firstKept);
    const doomed = this.#segments.filter((segment) => segment.last < firstKept);
    if (doomed.length === 0) return;
    if (doomed.some((segment) => segment.open)) await this.#closeFile();
    this.#segments = this.#segments.filter((segment) => segment.last >= firstKept);
    for (const segment of doomed) await this.files.removeFile(segment.path);
    // Before a new open segment is made: braft refuses two of them.
    await this.files.syncDirectory(this.directory);
  }

  /** Drops entries above `lastKept`, which is at least the first index - 1. */
  async truncateSuffix(lastKept: bigint): Promise<void> {
    await this.#removing({ kind: 'truncate', lastKept });
  }

  async #saveFirstIndex(firstIndex: bigint): Promise<void> {
    await writeProtobufFile(
      this.files,
      join(this.directory, logMetaName),
      encodeLogMeta(firstIndex),
    );
    this.#firstIndex = firstIndex;
  }

  /** Readers wait, or look again. */
  async #removing(intent: LogIntent): Promise<void> {
    this.#generation += 1;
    const done = this.#isOneStep(intent) ? this.#perform(intent) : this.#withIntent(intent);
    this.#removal = done.catch(() => {});
    await done;
  }

  async #withIntent(intent: LogIntent): Promise<void> {
    await writeIntent(this.files, this.directory, intent);
    await this.complete(intent);
  }

  /** Whether a single change of one file does it: shortening or removing it. */
  #isOneStep(intent: LogIntent): boolean {
    if (intent.kind === 'reset') return this.#segments.length === 0;
    const { lastKept } = intent;
    const isChanged = (s: Segment) => s.last > lastKept || this.#isDoomed(s, lastKept);
    return this.#segments.filter(isChanged).length <= 1;
  }

  /** Removed whole: it holds nothing to keep, or only what is hidden below the first index. */
  #isDoomed(segment: Segment, lastKept: bigint): boolean {
    return segment.first > lastKept || lastKept < this.#firstIndex;
  }

  async #perform(intent: LogIntent): Promise<void> {
    const lastKept = intent.kind === 'reset' ? null : intent.lastKept;
    for (let segment = this.#segments.at(-1); segment; segment = this.#segments.at(-1)) {
      if (lastKept !== null && !this.#isDoomed(segment, lastKept)) break;
      if (segment.open) await this.#closeFile();
      await this.files.removeFile(segment.path);
      // From the back, one after the other: what is left is a prefix, also for braft.
      await this.files.syncDirectory(this.directory);
      this.#segments.pop();
    }
    if (intent.kind === 'reset') return this.#saveFirstIndex(intent.to);
    const newest = this.#segments.at(-1);
    if (newest !== undefined && newest.last > intent.lastKept) {
      await this.#shorten(newest, intent.lastKept);
    }
  }

  /** Opens the segment again, if closed, and cuts it behind `lastKept`. */
  async #shorten(segment: Segment, lastKept: bigint): Promise<void> {
    if (!segment.open) {
      const { path } = segment;
      segment.open = true;
      await this.files.rename(path, segment.path);
      await this.files.syncDirectory(this.directory);
    }
    const file = await this.#openFile(segment);
    const count = segment.position(lastKept) + 1;
    const end = await recordOffset(file, segment, count);
    await file.truncate(end);
    await file.sync();
    segment.offsets.cut(count, end);
  }

  async #openFile(segment: Segment): Promise<FileHandle> {
    this.#file ??= await this.files.open(segment.path, 'read-write', { synced: true });
    return this.#file;
  }

  async #closeFile(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    await file?.close();
  }

  /** Appends; durable when resolved. A crash leaves a prefix of the entries. */
  async append(batches: readonly EntryBatch[]): Promise<void> {
    const run = new SegmentRun();
    for (const batch of batches) {
      assert(batch.firstIndex === this.#segmentEnd() + BigInt(run.count) + 1n, 'entries follow');
      for (let i = 0; i < batch.count;) {
        const segment = this.#openSegment();
        const room = this.#maxSegmentBytes - (segment?.offsets.end ?? 0) - run.bytes;
        if (segment === null) {
          await this.#create(batch.firstIndex + BigInt(i));
        } else if (room < 0) {
          await this.#flush(segment, run);
          await this.#close(segment);
        } else {
          i = run.take(batch, i, { room });
        }
      }
    }
    const segment = this.#openSegment();
    if (segment !== null) await this.#flush(segment, run);
    if (this.#hasNewName) await this.#syncNames();
  }

  /** Where the next record goes; the first index when there is no segment. */
  #segmentEnd(): bigint {
    return this.#segments.at(-1)?.last ?? this.#firstIndex - 1n;
  }

  #openSegment(): Segment | null {
    const newest = this.#segments.at(-1);
    return newest?.open ? newest : null;
  }

  async #create(first: bigint): Promise<void> {
    const segment = new Segment({ directory: this.directory, first, namedLast: null });
    this.#file = await this.files.open(segment.path, 'create', { synced: true });
    this.#hasNewName = true;
    this.#segments.push(segment);
  }

  /** One write: what a crash leaves of several could have a hole. */
  async #flush(segment: Segment, run: SegmentRun): Promise<void> {
    if (run.count === 0) return;
    const file = await this.#openFile(segment);
    const { bytes, sizes } = run.drain();
    await file.write(bytes, segment.offsets.end);
    for (const size of sizes) segment.offsets.push(size);
  }

  async #close(segment: Segment): Promise<void> {
    await this.#closeFile();
    const { path } = segment;
    segment.open = false;
    await this.files.rename(path, segment.path);
    // Before the next one is made: braft refuses two open segments.
    await this.#syncNames();
  }

  async #syncNames(): Promise<void> {
    await this.files.syncDirectory(this.directory);
    this.#hasNewName = false;
  }

  async close(): Promise<void> {
    await this.#closeFile();
  }
}

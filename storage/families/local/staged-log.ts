/**
 * Segments of an import: written in large pieces, synced behind the writing, all durable at a
 * checkpoint. Until then nothing says that they are there.
 */
import { join } from 'node:path';

import { assert, fail } from '../../../core/errors.ts';
import type { StagingProgress } from '../../contracts.ts';
import type { EntryBatch } from '../../entry-batch.ts';
import type { FileHandle, FileLayer } from '../../file-layer.ts';
import { closedSegmentName, openSegmentName, parseLogName } from './segment-name.ts';
import { SegmentRun } from './segment-run.ts';
import { scanSegment } from './segment-scan.ts';
import { RecordOffsets } from './segment.ts';

/** Bytes gathered for one write. */
const writeBytes = 1024 * 1024;

/** Closed segments whose sync may still be under way: bounds what is dirty and open. */
const maxSyncs = 2;

interface GrowingSegment {
  readonly first: bigint;
  readonly file: FileHandle;
  /** Records and bytes, those that are on their way to the file included. */
  count: number;
  bytes: number;
}

export class StagedLog {
  readonly #files: FileLayer;
  readonly #directory: string;
  readonly #maxSegmentBytes: number;
  #firstIndex = 1n;
  #lastIndex = 0n;
  #segment: GrowingSegment | null = null;
  /** Being filled, and being written: they change places. */
  #run = new SegmentRun();
  #spare = new SegmentRun();
  /** The write under way; one at a time, beside the next batch. */
  #writing: Promise<void> = Promise.resolve();
  #syncs: Promise<void>[] = [];

  constructor(options: { files: FileLayer; directory: string; maxSegmentBytes: number }) {
    this.#files = options.files;
    this.#directory = options.directory;
    this.#maxSegmentBytes = options.maxSegmentBytes;
  }

  get firstIndex(): bigint {
    return this.#firstIndex;
  }

  get lastIndex(): bigint {
    return this.#lastIndex;
  }

  begin(firstIndex: bigint): void {
    const empty = this.#lastIndex === this.#firstIndex - 1n && this.#segment === null;
    assert(empty, 'a log begins once, before its first entry');
    this.#firstIndex = firstIndex;
    this.#lastIndex = firstIndex - 1n;
  }

  /**
   * Removes everything behind the checkpoint; without one, everything.
   * @throws `data.corrupt` when entries of the checkpoint are missing
   */
  async resume(progress: StagingProgress | null): Promise<void> {
    this.#firstIndex = progress?.firstIndex ?? 1n;
    this.#lastIndex = this.#firstIndex - 1n;
    for (const name of (await this.#files.list(this.#directory)).toSorted(byFirstIndex)) {
      const parsed = parseLogName(name);
      if (parsed.kind !== 'closed' && parsed.kind !== 'open') continue;
      const path = join(this.#directory, name);
      if (progress === null || parsed.first > progress.lastIndex)
        await this.#files.removeFile(path);
      else await this.#keep(path, { ...parsed, checkpoint: progress.lastIndex });
    }
    const wanted = progress?.lastIndex ?? this.#lastIndex;
    if (this.#lastIndex !== wanted) this.#refuse(this.#directory, wanted);
    await this.#files.syncDirectory(this.#directory);
  }

  /** Keeps the segment up to the checkpoint; what may still grow is opened again. */
  async #keep(
    path: string,
    found: { first: bigint; last?: bigint; checkpoint: bigint },
  ): Promise<void> {
    const { first, last, checkpoint } = found;
    if (first !== this.#lastIndex + 1n) this.#refuse(path, this.#lastIndex + 1n);
    const stat = await this.#files.stat(path);
    const full = last !== undefined && (stat?.bytes ?? 0) > this.#maxSegmentBytes;
    if (full && last <= checkpoint) {
      this.#lastIndex = last;
      return;
    }
    const wanted = last !== undefined && last < checkpoint ? last : checkpoint;
    const openPath = join(this.#directory, openSegmentName(first));
    if (path !== openPath) await this.#files.rename(path, openPath);
    const file = await this.#files.open(openPath, 'read-write');
    const offsets = new RecordOffsets();
    const maxRecords = Number(wanted - first) + 1;
    await scanSegment({ file, fileBytes: await file.size(), offsets, maxRecords });
    if (offsets.count < maxRecords) this.#refuse(openPath, first + BigInt(offsets.count));
    await file.truncate(offsets.end);
    await file.sync();
    assert(this.#segment === null, 'only the last segment grows');
    this.#segment = { first, file, count: offsets.count, bytes: offsets.end };
    this.#lastIndex = wanted;
  }

  #refuse(file: string, index: bigint): never {
    const reason = `entry ${index} of the checkpoint is not there`;
    throw fail('data.corrupt', { file, offset: 0, reason });
  }

  /** Takes the batch's entries; the caller may use its buffer again when this resolves. */
  async append(batch: EntryBatch): Promise<void> {
    for (let i = 0; i < batch.count;) {
      const segment = this.#segment ?? (await this.#create(this.#lastIndex + 1n));
      const room = this.#maxSegmentBytes - segment.bytes;
      if (room < 0) {
        await this.#close();
        continue;
      }
      const [before, bytesBefore] = [this.#run.count, this.#run.bytes];
      i = this.#run.take(batch, i, { room, fullAt: writeBytes });
      segment.count += this.#run.count - before;
      segment.bytes += this.#run.bytes - bytesBefore;
      this.#lastIndex = segment.first + BigInt(segment.count) - 1n;
      if (this.#run.bytes >= writeBytes) await this.#startWrite();
    }
  }

  async #create(first: bigint): Promise<GrowingSegment> {
    const path = join(this.#directory, openSegmentName(first));
    const file = await this.#files.open(path, 'create');
    this.#segment = { first, file, count: 0, bytes: 0 };
    return this.#segment;
  }

  async #startWrite(): Promise<void> {
    await this.#writing;
    const segment = this.#segment;
    if (segment === null || this.#run.count === 0) return;
    const { bytes } = this.#run.drain();
    [this.#run, this.#spare] = [this.#spare, this.#run];
    this.#writing = segment.file.write(bytes, segment.bytes - bytes.length);
    this.#writing.catch(() => {});
  }

  /** Names the segment as closed; its sync goes on behind. */
  async #close(): Promise<void> {
    const segment = this.#segment;
    if (segment === null) return;
    await this.#startWrite();
    await this.#writing;
    this.#segment = null;
    const { first, count, file } = segment;
    const closed = closedSegmentName(first, first + BigInt(count) - 1n);
    const path = join(this.#directory, openSegmentName(first));
    await this.#files.rename(path, join(this.#directory, closed));
    const done = syncAndClose(file);
    done.catch(() => {});
    this.#syncs.push(done);
    while (this.#syncs.length > maxSyncs) await this.#syncs.shift();
  }

  /** Everything given is durable when this resolves. */
  async sync(): Promise<void> {
    await this.#startWrite();
    await this.#writing;
    await this.#segment?.file.sync();
    while (this.#syncs.length > 0) await this.#syncs.shift();
    await this.#files.syncDirectory(this.#directory);
  }

  /** As {@link sync}, with the last segment closed. */
  async finish(): Promise<void> {
    await this.#close();
    await this.sync();
  }

  /** Lets go of the files; what was not synced may be lost. */
  async close(): Promise<void> {
    await this.#writing.catch(() => {});
    await Promise.allSettled(this.#syncs);
    this.#syncs = [];
    await this.#segment?.file.close();
    this.#segment = null;
  }
}

async function syncAndClose(file: FileHandle): Promise<void> {
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Ascending by the first index in the name; other names anywhere. */
function byFirstIndex(a: string, b: string): number {
  const [first, second] = [a, b].map((name) => {
    const parsed = parseLogName(name);
    return 'first' in parsed ? parsed.first : 0n;
  });
  return (first ?? 0n) < (second ?? 0n) ? -1 : 1;
}

/**
 * Segments of an import: written in large pieces, closed and synced behind the writing, all durable
 * at a checkpoint. Until then nothing says that they are there.
 */
import { join } from 'node:path';

import { assert, fail } from '../../../core/errors.ts';
import type { StagingProgress } from '../../contracts.ts';
import { offsetAt, type EntryBatch } from '../../entry-batch.ts';
import type { FileHandle, FileLayer } from '../../file-layer.ts';
import { StreamedFile } from '../../streamed-file.ts';
import { closedSegmentName, openSegmentName, parseLogName } from './segment-name.ts';
import { copyRecords } from './segment-run.ts';
import { scanSegment } from './segment-scan.ts';
import { RecordOffsets } from './segment.ts';
import { WorkBehind } from '../../work-behind.ts';

const readBytes = 1024 * 1024;

/** Full segments whose closing may still be under way: bounds what is in memory, dirty and open. */
const maxClosing = 2;

interface GrowingSegment {
  readonly first: bigint;
  /** It is made behind: the first bytes wait in memory for it. */
  readonly file: Promise<FileHandle>;
  readonly stream: StreamedFile;
  /** Records and bytes. */
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
  readonly #behind = new WorkBehind();

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
    this.#segment = await this.#reopen(openPath, file, { first, offsets });
    this.#lastIndex = wanted;
  }

  /** To grow on: what is there is taken into the stream again, which writes whole blocks. */
  async #reopen(
    path: string,
    from: FileHandle,
    found: { first: bigint; offsets: RecordOffsets },
  ): Promise<GrowingSegment> {
    const { first, offsets } = found;
    const { count, end } = offsets;
    const file = this.#files.open(path, 'read-write', { direct: true });
    const stream = new StreamedFile(file);
    const piece = Buffer.allocUnsafe(Math.min(readBytes, end));
    while (stream.bytes < end) {
      const wanted = Math.min(piece.length, end - stream.bytes);
      const got = await from.read(piece, 0, wanted, stream.bytes);
      if (got === 0) this.#refuse(path, first);
      await stream.append(piece.subarray(0, got));
    }
    await from.close();
    return { first, file, stream, count, bytes: end };
  }

  #refuse(file: string, index: bigint): never {
    const reason = `entry ${index} of the checkpoint is not there`;
    throw fail('data.corrupt', { file, offset: 0, reason });
  }

  /** Takes the batch's entries; the caller may use its buffer again when this resolves. */
  async append(batch: EntryBatch): Promise<void> {
    for (let start = 0; start < batch.count;) {
      const segment = this.#segment ?? this.#create(this.#lastIndex + 1n);
      const room = this.#maxSegmentBytes - segment.bytes;
      if (room < 0) {
        await this.#close();
        continue;
      }
      // braft's rule: a segment takes a record while those before it are not above the limit.
      const end = Math.min(fitting(batch, start, room) + 1, batch.count);
      await this.#write(segment, batch, { start, end });
      start = end;
    }
  }

  /** Makes the records where the file is written from; one that lies across its end, beside. */
  async #write(
    segment: GrowingSegment,
    batch: EntryBatch,
    part: { start: number; end: number },
  ): Promise<void> {
    for (let { start } = part; start < part.end;) {
      const { space } = segment.stream;
      const whole = Math.min(fitting(batch, start, space.length), part.end);
      const end = Math.max(whole, start + 1);
      const bytes = offsetAt(batch, end) - offsetAt(batch, start);
      const target = whole > start ? space : new Uint8Array(bytes);
      copyRecords(batch, { start, end }, target);
      await (whole > start ? segment.stream.advance(bytes) : segment.stream.append(target));
      segment.count += end - start;
      segment.bytes += bytes;
      this.#lastIndex = segment.first + BigInt(segment.count) - 1n;
      start = end;
    }
  }

  #create(first: bigint): GrowingSegment {
    const path = join(this.#directory, openSegmentName(first));
    const file = this.#files.open(path, 'create', { direct: true });
    this.#segment = { first, file, stream: new StreamedFile(file), count: 0, bytes: 0 };
    return this.#segment;
  }

  /** The segment takes no more; what is left to do for it goes on behind. */
  async #close(): Promise<void> {
    const segment = this.#segment;
    if (segment === null) return;
    this.#segment = null;
    this.#behind.add(this.#closeFile(segment));
    await this.#behind.atMost(maxClosing);
  }

  /** Names the file as closed and makes it durable. */
  async #closeFile({ first, count, file, stream }: GrowingSegment): Promise<void> {
    try {
      await stream.flush();
      await stream.release();
      const closed = closedSegmentName(first, first + BigInt(count) - 1n);
      const path = join(this.#directory, openSegmentName(first));
      await this.#files.rename(path, join(this.#directory, closed));
      await (await file).sync();
    } finally {
      await stream.release();
      await (await file).close();
    }
  }

  /** Everything given is durable when this resolves. */
  async sync(): Promise<void> {
    this.#behind.add(this.#syncSegment());
    await this.#behind.atMost(0);
    await this.#files.syncDirectory(this.#directory);
  }

  async #syncSegment(): Promise<void> {
    if (this.#segment === null) return;
    const { file, stream } = this.#segment;
    await stream.flush();
    await (await file).sync();
  }

  /** As {@link sync}, with the last segment closed. */
  async finish(): Promise<void> {
    await this.#close();
    await this.sync();
  }

  /** Lets go of the files; what was not synced may be lost. */
  async close(): Promise<void> {
    await this.#segment?.stream.release();
    await this.#behind.ended();
    // One that could not be opened has failed the append.
    const file = await this.#segment?.file.catch(() => null);
    await file?.close();
    this.#segment = null;
  }
}

/** The position behind the entries from `start` on that have at most `bytes` together. */
function fitting(batch: EntryBatch, start: number, bytes: number): number {
  const limit = offsetAt(batch, start) + bytes;
  let end = start;
  while (end < batch.count && (batch.offsets[end + 1] as number) <= limit) end += 1;
  return end;
}

/** Ascending by the first index in the name; other names anywhere. */
function byFirstIndex(a: string, b: string): number {
  const [first, second] = [a, b].map((name) => {
    const parsed = parseLogName(name);
    return 'first' in parsed ? parsed.first : 0n;
  });
  return (first ?? 0n) < (second ?? 0n) ? -1 : 1;
}

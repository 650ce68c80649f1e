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

/** A segment of an earlier attempt; only a closed one names its last entry. */
interface FoundSegment {
  readonly path: string;
  readonly first: bigint;
  readonly last?: bigint;
  readonly bytes: number;
  readonly checkpoint: bigint;
}

/** Cut at the checkpoint, and synced. */
interface RestingSegment {
  readonly path: string;
  readonly first: bigint;
  readonly file: FileHandle;
  readonly count: number;
  readonly bytes: number;
}

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
  /** The last segment as an earlier attempt left it, until an entry is added to it. */
  #resting: RestingSegment | null = null;
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
    const found = (await this.#files.list(this.#directory)).flatMap((name) => {
      const parsed = parseLogName(name);
      if (parsed.kind !== 'closed' && parsed.kind !== 'open') return [];
      return [{ ...parsed, path: join(this.#directory, name) }];
    });
    const stats = await Promise.all(found.map(({ path }) => this.#files.stat(path)));
    const segments = found.map((segment, at) => ({ ...segment, bytes: stats[at]?.bytes ?? 0 }));
    for (const segment of segments.toSorted((a, b) => (a.first < b.first ? -1 : 1))) {
      if (progress === null || segment.first > progress.lastIndex)
        await this.#files.removeFile(segment.path);
      else await this.#keep({ ...segment, checkpoint: progress.lastIndex });
    }
    const wanted = progress?.lastIndex ?? this.#lastIndex;
    if (this.#lastIndex !== wanted) this.#refuse(this.#directory, wanted);
    await this.#files.syncDirectory(this.#directory);
  }

  /** Keeps the segment up to the checkpoint; what may still grow is opened again. */
  async #keep(segment: FoundSegment): Promise<void> {
    const { path, first, last, bytes, checkpoint } = segment;
    if (first !== this.#lastIndex + 1n) this.#refuse(path, this.#lastIndex + 1n);
    const full = last !== undefined && bytes > this.#maxSegmentBytes;
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
    assert(this.#resting === null, 'only the last segment grows');
    const { count, end } = offsets;
    this.#resting = { path: openPath, first, file, count, bytes: end };
    this.#lastIndex = wanted;
  }

  /** To grow on: what is there is taken into the stream again, which writes whole blocks. */
  async #reopen(resting: RestingSegment): Promise<GrowingSegment> {
    const { path, first, count, bytes } = resting;
    const file = this.#files.open(path, 'read-write', { direct: true });
    const stream = new StreamedFile(file);
    this.#segment = { first, file, stream, count, bytes };
    const piece = Buffer.allocUnsafe(Math.min(readBytes, bytes));
    while (stream.bytes < bytes) {
      const wanted = Math.min(piece.length, bytes - stream.bytes);
      const got = await resting.file.read(piece, 0, wanted, stream.bytes);
      if (got === 0) this.#refuse(path, first);
      await stream.append(piece.subarray(0, got));
    }
    this.#resting = null;
    await resting.file.close();
    return this.#segment;
  }

  #refuse(file: string, index: bigint): never {
    const reason = `entry ${index} of the checkpoint is not there`;
    throw fail('data.corrupt', { file, offset: 0, reason });
  }

  /** Takes the batch's entries; the caller may use its buffer again when this resolves. */
  async append(batch: EntryBatch): Promise<void> {
    for (let start = 0; start < batch.count;) {
      const segment = await this.#growing();
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

  async #growing(): Promise<GrowingSegment> {
    if (this.#segment !== null) return this.#segment;
    if (this.#resting !== null) return this.#reopen(this.#resting);
    return this.#create(this.#lastIndex + 1n);
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
      await this.#nameClosed(first, count);
      await (await file).sync();
    } finally {
      await stream.release();
      await (await file).close();
    }
  }

  async #nameClosed(first: bigint, count: number): Promise<void> {
    const closed = closedSegmentName(first, first + BigInt(count) - 1n);
    const path = join(this.#directory, openSegmentName(first));
    await this.#files.rename(path, join(this.#directory, closed));
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
    if (this.#resting !== null) await this.#nameClosed(this.#resting.first, this.#resting.count);
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
    await this.#resting?.file.close();
    this.#resting = null;
  }
}

/** The position behind the entries from `start` on that have at most `bytes` together. */
function fitting(batch: EntryBatch, start: number, bytes: number): number {
  const limit = offsetAt(batch, start) + bytes;
  let end = start;
  while (end < batch.count && (batch.offsets[end + 1] as number) <= limit) end += 1;
  return end;
}

/** Reads entries from segments in large pieces, the next piece under way while one is looked at. */
import { fail } from '../../../core/errors.ts';
import { EntryType, payloadAt, typeAt, type EntryBatch } from '../../entry-batch.ts';
import type { FileHandle, FileLayer } from '../../file-layer.ts';
import { isErrno } from '../../files.ts';
import { buffersSpent } from '../../spent-buffers.ts';
import { decodeConfiguration } from '../../braft-payloads/configuration.ts';
import { openSegment, walkDeferred } from './load-log.ts';
import { recordOffsetsIn, toBatch, type SegmentPiece } from './record-batch.ts';
import { readUint32, recordHeaderBytes } from './record.ts';
import { refuseSegment } from './segment-scan.ts';
import type { Segment } from './segment.ts';

/** The log as a reader needs it; it may change while it is read. */
export interface ReadableLog {
  readonly files: FileLayer;
  readonly directory: string;
  /** Closed ones in order, then the open one. */
  readonly segments: readonly Segment[];
  readonly firstIndex: bigint;
  readonly lastIndex: bigint;
  /** Raised before entries are removed from the end. */
  readonly generation: number;
  /** Resolves when no removal of entries from the end is under way. */
  settled(): Promise<void>;
}

export interface ReadRange {
  readonly from: bigint;
  readonly to: bigint;
  readonly maxBytes: number;
  /** `passing` of ReadOptions. */
  readonly passing: boolean;
  /** `statesPayloads` of ReadOptions. */
  readonly statesPayloads: boolean;
}

/**
 * Memory for pieces. In use at a time: one with the reader, one that waits for it, one that it may
 * have asked for, one being read ahead. A larger piece gets memory of its own.
 */
class PieceSlots {
  readonly #slotBytes: number;
  readonly #free: ArrayBufferLike[] = [];
  /** Of the batches given last: the reader may still look at them. */
  readonly #given: ArrayBufferLike[] = [];

  constructor(slotBytes: number) {
    this.#slotBytes = slotBytes;
  }

  take(bytes: number): Buffer {
    if (bytes > this.#slotBytes) return ownMemory(bytes);
    const slot = this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#slotBytes).buffer;
    return Buffer.from(slot, 0, bytes);
  }

  /** It goes to the reader, which by then has let go of the one before the one before. */
  give({ buffer }: Buffer): void {
    if (buffer.byteLength !== this.#slotBytes) return;
    this.#given.push(buffer);
    const [oldest] = this.#given;
    if (oldest === undefined || this.#given.length <= stillLookedAt) return;
    this.#given.shift();
    this.#free.push(oldest);
  }

  /** Nobody has seen it. */
  putBack({ buffer }: Buffer): void {
    if (buffer.byteLength === this.#slotBytes) this.#free.push(buffer);
  }
}

/** Batches that a reader may hold when the next one but one is read. */
const stillLookedAt = 2;

function ownMemory(bytes: number): Buffer {
  buffersSpent(bytes);
  return Buffer.allocUnsafeSlow(bytes);
}

/**
 * Entries `from..to`, checked. What a mutation removes meanwhile is either read or refused.
 * @throws `data.corrupt`, `log.out-of-range`
 */
export async function* readLog(log: ReadableLog, range: ReadRange): AsyncGenerator<EntryBatch> {
  const newSlots = () => (range.passing ? new PieceSlots(range.maxBytes) : null);
  let slots = newSlots();
  let next = range.from;
  while (next <= range.to) {
    await log.settled();
    const { generation } = log;
    try {
      for await (const batch of readOneSegment(log, { ...range, from: next, slots })) {
        if (log.generation !== generation) {
          // Of a look that is given up nobody counts which slots it has taken.
          slots = newSlots();
          break;
        }
        slots?.give(batch.bytes);
        yield batch;
        next = batch.firstIndex + BigInt(batch.count);
      }
    } catch (error) {
      // A prefix truncation may have removed the segment before it was opened.
      if (next < log.firstIndex) throw notFound(log, next);
      // Entries may have been replaced under the read: then look again.
      if (log.generation === generation) throw error;
      slots = newSlots();
    }
  }
}

/**
 * As braft looks an index up: in the open segment if it reaches down to it, else in the closed
 * ones.
 */
export function findSegment(log: ReadableLog, index: bigint): Segment | null {
  const { segments } = log;
  const newest = segments.at(-1);
  if (newest?.open && index >= newest.first) return index <= newest.last ? newest : null;
  let low = 0;
  let high = segments.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((segments[middle]?.first ?? index) <= index) low = middle;
    else high = middle - 1;
  }
  const found = segments[low];
  return found !== undefined && index >= found.first && index <= found.last ? found : null;
}

interface SlottedRange extends ReadRange {
  /** Null: every piece has memory of its own. */
  readonly slots: PieceSlots | null;
}

async function* readOneSegment(log: ReadableLog, range: SlottedRange): AsyncGenerator<EntryBatch> {
  const { from } = range;
  const segment = findSegment(log, from);
  if (segment === null) throw notFound(log, from);
  if (segment.deferred && from !== segment.first) await walkDeferred(log.files, segment);
  const newest = log.segments.at(-1);
  let to = range.to < segment.last ? range.to : segment.last;
  if (newest !== undefined && newest !== segment && newest.first <= to) to = newest.first - 1n;
  const file = await (segment.deferred
    ? openSegment(log.files, segment.path)
    : openSegmentFile(log.files, segment));
  try {
    yield* readRecords({ ...range, files: log.files, file, segment, to });
  } catch (error) {
    // The walk that opening left out says more exactly what is wrong.
    if (segment.deferred) await walkDeferred(log.files, segment);
    throw error;
  } finally {
    await file.close();
  }
}

function notFound(log: ReadableLog, index: bigint): Error {
  const { firstIndex: first, lastIndex: last, directory } = log;
  if (index < first || index > last) {
    return fail('log.out-of-range', { instance: directory, index, first, last });
  }
  return fail('data.corrupt', {
    file: directory,
    offset: 0,
    reason: `no segment has index ${index}`,
  });
}

/**
 * A segment may be renamed (closed, or opened again) while its name is looked at: its file has one
 * of two names then, and a look at both may just miss it once.
 */
async function openSegmentFile(files: FileLayer, segment: Segment): Promise<FileHandle> {
  const { path } = segment;
  for (const name of [path, segment.otherPath, path]) {
    try {
      return await files.open(name, 'read');
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
  }
  if (segment.path !== path) return openSegmentFile(files, segment);
  return files.open(path, 'read');
}

/** Whether braft can parse every CONFIGURATION among them. */
function configurationsParse(batch: EntryBatch): boolean {
  for (let i = 0; i < batch.count; i += 1) {
    if (typeAt(batch, i) !== EntryType.CONFIGURATION) continue;
    if (decodeConfiguration(payloadAt(batch, i)) === null) return false;
  }
  return true;
}

interface RecordRange extends SlottedRange {
  readonly files: FileLayer;
  readonly file: FileHandle;
  readonly segment: Segment;
}

async function* readRecords(range: RecordRange): AsyncGenerator<EntryBatch> {
  const { segment, from, to } = range;
  const { offsets, path, deferred } = segment;
  const start = offsets.floor(segment.position(from));
  const limit = deferred ? await range.file.size() : offsets.ceiling(segment.position(to));
  const fetch = (offset: number, wanted: number) => {
    const bytes = Math.min(wanted, limit - offset);
    const target = range.slots?.take(bytes) ?? ownMemory(bytes);
    return readPiece(range.file, { path, offset, target });
  };
  let index = segment.first + BigInt(start.position);
  let pending = fetch(start.offset, range.maxBytes);
  try {
    while (index <= to) {
      const piece = await pending;
      const found = recordOffsetsIn(piece, Number(to - index) + 1);
      const count = found.length - 1;
      if (count === 0) {
        const wanted = oneRecordBytes(piece);
        if (piece.offset + wanted > limit)
          refuseSegment(path, piece.offset, 'a record is cut short');
        range.slots?.putBack(piece.bytes);
        pending = fetch(piece.offset, wanted);
        continue;
      }
      const next = index + BigInt(count);
      const end = piece.offset + (found[count] ?? 0);
      if (next <= to) pending = startEarly(fetch(end, range.maxBytes));
      const skip = index < from ? Math.min(Number(from - index), count) : 0;
      const records = {
        offsets: found.subarray(skip),
        firstIndex: index + BigInt(skip),
        statesPayloads: range.statesPayloads,
      };
      const batch = skip < count ? toBatch(piece, records) : null;
      if (deferred && batch !== null) {
        // Bytes behind the last record may be a record too many.
        const isWhole = next <= segment.last || end === limit;
        if (!isWhole || !configurationsParse(batch)) await walkDeferred(range.files, segment);
      }
      if (batch === null) range.slots?.putBack(piece.bytes);
      else yield batch;
      index = next;
    }
  } finally {
    // The file is closed next: no read may still use it.
    await pending.catch(() => {});
  }
}

/** A read whose failure is seen when it is awaited, also if that is never. */
function startEarly(read: Promise<SegmentPiece>): Promise<SegmentPiece> {
  read.catch(() => {});
  return read;
}

/** Bytes of the piece's first record, which is larger than the piece. */
function oneRecordBytes(piece: SegmentPiece): number {
  const { bytes } = piece;
  if (bytes.length < recordHeaderBytes) return recordHeaderBytes;
  const needed = recordHeaderBytes + readUint32(bytes, 12);
  if (needed <= bytes.length) refuseSegment(piece.path, piece.offset, 'a record cannot be read');
  return needed;
}

async function readPiece(
  file: FileHandle,
  options: { path: string; offset: number; target: Buffer },
): Promise<SegmentPiece> {
  const { path, offset, target: bytes } = options;
  let filled = 0;
  while (filled < bytes.length) {
    const got = await file.read(bytes, filled, bytes.length - filled, offset + filled);
    if (got === 0) refuseSegment(path, offset + filled, 'the file has become shorter');
    filled += got;
  }
  return { bytes, path, offset };
}

/** The byte at which record `position` of the segment begins; `count` gives the end. */
export async function recordOffset(
  file: FileHandle,
  segment: Segment,
  position: number,
): Promise<number> {
  if (position >= segment.offsets.count) return segment.offsets.end;
  const header = Buffer.alloc(recordHeaderBytes);
  let { position: at, offset } = segment.offsets.floor(position);
  for (; at < position; at += 1) {
    const got = await file.read(header, 0, header.length, offset);
    if (got < header.length) refuseSegment(segment.path, offset, 'the file has become shorter');
    offset += recordHeaderBytes + readUint32(header, 12);
  }
  return offset;
}

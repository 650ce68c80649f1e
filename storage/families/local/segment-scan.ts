/**
 * Walks the headers of a segment as braft does when it loads one: every header is checked, payloads
 * are skipped, except those of CONFIGURATION entries, which are checked and parsed. Says where the
 * good records end and why.
 */
import { fail } from '../../../core/errors.ts';
import { EntryType } from '../../entry-batch.ts';
import type { FileHandle } from '../../file-layer.ts';
import { decodeConfiguration } from '../../braft-payloads/configuration.ts';
import {
  isPayloadIntact,
  isRecordHeader,
  readUint32,
  recordHeaderBytes,
  recordType,
} from './record.ts';
import type { RecordOffsets } from './segment.ts';

/** Bytes of one read: large enough that calls do not count, small beside the memory bound. */
const windowBytes = 1024 * 1024;

/**
 * Where payloads are larger than this on average, a read of only this much finds the next header.
 */
const sparseWindowBytes = 16 * 1024;

/** How the records of a segment end. */
export type SegmentEnd =
  /** With the file. */
  | { readonly kind: 'whole' }
  /**
   * A record is cut short by the end of the file, or a CONFIGURATION's payload is damaged there.
   */
  | { readonly kind: 'torn'; readonly reason: string; readonly damaged: boolean }
  /** A header is damaged. */
  | { readonly kind: 'corrupt'; readonly reason: string }
  /** A CONFIGURATION that is intact but no protobuf message. */
  | { readonly kind: 'unparsable'; readonly reason: string };

/** A piece of the file that moves along; the bytes at `offset` are at `offset - base`. */
class Window {
  readonly #file: FileHandle;
  #bytes = Buffer.alloc(0);
  #base = 0;
  #filled = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /**
   * Position in {@link bytes} of file offset `offset`, with `length` bytes after it; -1 when not
   * loaded.
   */
  locate(offset: number, length: number): number {
    const at = offset - this.#base;
    return at >= 0 && at + length <= this.#filled ? at : -1;
  }

  get bytes(): Buffer {
    return this.#bytes;
  }

  /** Loads `[offset, offset + length)`, which the file is known to have. */
  async load(offset: number, length: number): Promise<void> {
    if (this.#bytes.length < length) this.#bytes = Buffer.allocUnsafeSlow(length);
    this.#base = offset;
    this.#filled = 0;
    while (this.#filled < length) {
      const rest = length - this.#filled;
      const got = await this.#file.read(this.#bytes, this.#filled, rest, offset + this.#filled);
      if (got === 0) break;
      this.#filled += got;
    }
  }
}

export interface ScanOptions {
  readonly file: FileHandle;
  readonly fileBytes: number;
  /** Filled with the good records. */
  readonly offsets: RecordOffsets;
  /** Stop after so many records, whatever follows; absent: none. */
  readonly maxRecords?: number;
}

export async function scanSegment(options: ScanOptions): Promise<SegmentEnd> {
  const { file, fileBytes, offsets, maxRecords = Infinity } = options;
  const window = new Window(file);
  while (offsets.end < fileBytes && offsets.count < maxRecords) {
    const { end } = offsets;
    if (fileBytes - end < recordHeaderBytes) return torn('a header is cut short');
    if (window.locate(end, recordHeaderBytes) < 0) {
      await window.load(end, Math.min(nextWindow(offsets), fileBytes - end));
    }
    const stop = walk(window, options);
    if (stop === 'configuration') {
      const bad = await checkConfiguration(window, offsets.end);
      if (bad !== null) return bad;
      offsets.push(recordBytes(window, offsets.end));
    } else if (stop !== null) {
      return stop;
    }
  }
  return { kind: 'whole' };
}

function nextWindow(offsets: RecordOffsets): number {
  const sparse = offsets.end > (offsets.count * windowBytes) / 4 && offsets.count > 0;
  return sparse ? sparseWindowBytes : windowBytes;
}

/** Takes records as far as the window shows headers; null when it must move on. */
function walk(window: Window, options: ScanOptions): SegmentEnd | 'configuration' | null {
  const { offsets, fileBytes, maxRecords = Infinity } = options;
  const { bytes } = window;
  while (offsets.count < maxRecords) {
    const at = window.locate(offsets.end, recordHeaderBytes);
    if (at < 0) return null;
    if (!isRecordHeader(bytes, at)) return { kind: 'corrupt', reason: 'a header is damaged' };
    const length = recordHeaderBytes + readUint32(bytes, at + 12);
    if (offsets.end + length > fileBytes) return torn('a payload is cut short');
    if (recordType(bytes, at) === EntryType.CONFIGURATION) return 'configuration';
    offsets.push(length);
  }
  return null;
}

function recordBytes(window: Window, offset: number): number {
  return (
    recordHeaderBytes + readUint32(window.bytes, window.locate(offset, recordHeaderBytes) + 12)
  );
}

async function checkConfiguration(window: Window, offset: number): Promise<SegmentEnd | null> {
  const length = recordBytes(window, offset);
  if (window.locate(offset, length) < 0) await window.load(offset, length);
  const at = window.locate(offset, length);
  if (at < 0) return torn('a payload is cut short');
  if (!isPayloadIntact(window.bytes, at))
    return torn('the payload of a CONFIGURATION is damaged', true);
  const payload = window.bytes.subarray(at + recordHeaderBytes, at + length);
  if (decodeConfiguration(payload) !== null) return null;
  return { kind: 'unparsable', reason: 'a CONFIGURATION is no protobuf message' };
}

/** `damaged`: whole records may follow, which braft cuts off as well. */
function torn(reason: string, damaged = false): SegmentEnd {
  return { kind: 'torn', reason, damaged };
}

/**
 * Whether `[from, fileBytes)` holds nothing but zeros: an extension that a power loss left
 * unwritten.
 */
export async function isZeroTail(
  file: FileHandle,
  from: number,
  fileBytes: number,
): Promise<boolean> {
  const piece = Buffer.alloc(Math.min(windowBytes, fileBytes - from));
  for (let at = from; at < fileBytes;) {
    const got = await file.read(piece, 0, Math.min(piece.length, fileBytes - at), at);
    if (got === 0) break;
    if (!piece.subarray(0, got).every((byte) => byte === 0)) return false;
    at += got;
  }
  return true;
}

/** @throws always: `data.corrupt` */
export function refuseSegment(path: string, offset: number, reason: string): never {
  throw fail('data.corrupt', { file: path, offset, reason });
}

/**
 * Records of a segment as canonical entries. Both have the same size, so a buffer read from a
 * segment becomes a batch by rewriting its headers in place; the way back is one copy
 * (segment-run.ts).
 */
import { crc32c } from '@node-rs/crc32';

import { combineCrc32c, shortCrc32c } from '../../crc32c.ts';
import { batchOf, EntryType, offsetAt, type EntryBatch, type LogEntry } from '../../entry-batch.ts';
import { ChecksumKind } from './checksum.ts';
import {
  isPayloadIntact,
  isRecordHeader,
  readUint32,
  recordChecksumKind,
  recordHeaderBytes,
  recordPayloadChecksum,
  recordType,
  writeUint32,
} from './record.ts';
import { refuseSegment } from './segment-scan.ts';

/** Below so many records a combined check saves nothing. */
const minGroup = 4;

/** A piece of a segment file in memory, beginning with a record. */
export interface SegmentPiece {
  readonly bytes: Buffer;
  /** For messages: the file, and where in it the piece begins. */
  readonly path: string;
  readonly offset: number;
}

/**
 * Offsets of the whole records of the piece, at most `maxCount`, and after them the end of the
 * last.
 * @throws `data.corrupt` for a damaged header
 */
export function recordOffsetsIn(piece: SegmentPiece, maxCount: number): Uint32Array {
  const { bytes } = piece;
  let found = new Uint32Array(Math.min(maxCount, 1024) + 1);
  let count = 0;
  let at = 0;
  while (count < maxCount && at + recordHeaderBytes <= bytes.length) {
    if (!isRecordHeader(bytes, at)) damaged(piece, at, 'a header is damaged');
    const end = at + recordHeaderBytes + readUint32(bytes, at + 12);
    if (end > bytes.length) break;
    count += 1;
    if (count === found.length) found = grown(found);
    found[count] = end;
    at = end;
  }
  return found.subarray(0, count + 1);
}

function grown(offsets: Uint32Array): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(offsets.length * 2);
  larger.set(offsets);
  return larger;
}

function damaged(piece: SegmentPiece, at: number, reason: string): never {
  return refuseSegment(piece.path, piece.offset + at, reason);
}

/**
 * The records at `offsets` as a batch that shares the piece's bytes, their headers rewritten.
 * `statesPayloads` of ReadOptions.
 * @throws `data.corrupt` for a payload that differs from its checksum
 */
export function toBatch(
  piece: SegmentPiece,
  records: { offsets: Uint32Array; firstIndex: bigint; statesPayloads: boolean },
): EntryBatch {
  const { bytes } = piece;
  const { offsets, firstIndex } = records;
  const crcs = statedCrcs(bytes, offsets);
  const dropsPayload = hasNoOpPayload(bytes, offsets);
  const statesOnly = records.statesPayloads && crcs !== null && !dropsPayload;
  if (!statesOnly) checkPayloads(piece, offsets, crcs);
  rewriteHeaders(bytes, offsets, firstIndex);
  const batch = { firstIndex, count: offsets.length - 1, bytes, offsets };
  if (dropsPayload) return withoutNoOpPayloads(batch);
  if (crcs === null) return batch;
  return statesOnly ? { ...batch, statedCrc32c: crcs } : { ...batch, payloadCrc32c: crcs };
}

/** `crcs`: as the headers state them; null when another checksum is among them. */
function checkPayloads(piece: SegmentPiece, offsets: Uint32Array, crcs: Uint32Array | null): void {
  const count = offsets.length - 1;
  if (crcs === null || count < minGroup || !isGroupIntact(piece.bytes, offsets, crcs)) {
    for (let i = 0; i < count; i += 1) {
      const at = offsets[i] as number;
      if (!isPayloadIntact(piece.bytes, at)) {
        damaged(piece, at, 'a payload differs from its checksum');
      }
    }
  }
}

function statedCrcs(bytes: Buffer, offsets: Uint32Array): Uint32Array | null {
  const crcs = new Uint32Array(offsets.length - 1);
  for (let i = 0; i < crcs.length; i += 1) {
    const at = offsets[i] as number;
    if (recordChecksumKind(bytes, at) !== ChecksumKind.CRC32C) return null;
    crcs[i] = recordPayloadChecksum(bytes, at);
  }
  return crcs;
}

/** One CRC over all the records against what their headers (checked before) make it. */
function isGroupIntact(bytes: Buffer, offsets: Uint32Array, crcs: Uint32Array): boolean {
  let stated = 0;
  for (let i = 0; i < crcs.length; i += 1) {
    const at = offsets[i] as number;
    const headerCrc = shortCrc32c(bytes, at + 20, 4, readUint32(bytes, at + 20));
    const payloadBytes = (offsets[i + 1] as number) - at - recordHeaderBytes;
    stated = combineCrc32c(stated, headerCrc, recordHeaderBytes);
    stated = combineCrc32c(stated, crcs[i] as number, payloadBytes);
  }
  return crc32c(bytes.subarray(offsets[0], offsets.at(-1))) === stated;
}

/** Whether a NO_OP with a payload is among them: braft drops it when reading. */
function hasNoOpPayload(bytes: Buffer, offsets: Uint32Array): boolean {
  for (let i = 0; i < offsets.length - 1; i += 1) {
    const at = offsets[i] as number;
    const empty = offsets[i + 1] === at + recordHeaderBytes;
    if (!empty && recordType(bytes, at) === EntryType.NO_OP) return true;
  }
  return false;
}

function rewriteHeaders(bytes: Buffer, offsets: Uint32Array, firstIndex: bigint): void {
  let high = Number(BigInt.asIntN(32, firstIndex >> 32n));
  let low = Number(firstIndex & 0xffffffffn);
  for (let i = 0; i < offsets.length - 1; i += 1) {
    const at = offsets[i] as number;
    bytes[at + 9] = 0;
    bytes[at + 10] = 0;
    bytes[at + 11] = 0;
    writeUint32(bytes, at + 16, high);
    writeUint32(bytes, at + 20, low);
    low += 1;
    if (low > 0xffffffff) {
      low = 0;
      high += 1;
    }
  }
}

function withoutNoOpPayloads(batch: EntryBatch): EntryBatch {
  const entries: LogEntry[] = [];
  for (let i = 0; i < batch.count; i += 1) {
    const at = offsetAt(batch, i);
    const type = recordType(batch.bytes, at);
    const start = at + recordHeaderBytes;
    const payload = batch.bytes.subarray(start, offsetAt(batch, i + 1));
    entries.push({
      index: batch.firstIndex + BigInt(i),
      term: batch.bytes.readBigInt64BE(at),
      type,
      payload: type === EntryType.NO_OP ? Buffer.alloc(0) : payload,
    });
  }
  return batchOf(entries);
}

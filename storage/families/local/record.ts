/**
 * The record of braft's log segments: a 24-byte big-endian header and the payload. The index is not
 * stored: it follows from the segment's first index and the record's position.
 *
 *     0  i64  term
 *     8  u8   entry type
 *     9  u8   checksum kind: 0 MurmurHash3, 1 CRC-32C
 *    10  u16  reserved: written 0, ignored when read (but under the header checksum)
 *    12  u32  payload length in bytes
 *    16  u32  payload checksum
 *    20  u32  header checksum, over bytes 0..19
 *
 * The canonical entry (storage/entry-batch.ts) differs only in bytes 9..11, zero there, and 16..23,
 * the index there, so that either becomes the other in place.
 */
import { crc32c } from '@node-rs/crc32';

import { shortCrc32c } from '../../crc32c.ts';
import { entryHeaderBytes } from '../../entry-batch.ts';
import { ChecksumKind, checksumOf, isChecksumKind } from './checksum.ts';

/** Bytes of a record header; equal to a canonical header's. */
export const recordHeaderBytes = entryHeaderBytes;

/** Bytes of the header that its checksum covers. */
const checkedBytes = 20;

export function readUint32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}

export function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

export function recordType(bytes: Uint8Array, at: number): number {
  return bytes[at + 8] as number;
}

export function recordChecksumKind(bytes: Uint8Array, at: number): number {
  return bytes[at + 9] as number;
}

/** Bytes of the payload. */
export function recordPayloadBytes(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, at + 12);
}

export function recordPayloadChecksum(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, at + 16);
}

/** Whether the header at `at` is whole: a known checksum kind, and its checksum right. */
export function isRecordHeader(bytes: Uint8Array, at: number): boolean {
  const kind = bytes[at + 9] as number;
  const stated = readUint32(bytes, at + 20);
  if (kind === ChecksumKind.CRC32C) return shortCrc32c(bytes, at, checkedBytes) === stated;
  return isChecksumKind(kind) && checksumOf(kind, bytes.subarray(at, at + checkedBytes)) === stated;
}

/** Whether the payload that follows the header at `at` has the checksum that the header states. */
export function isPayloadIntact(bytes: Uint8Array, at: number): boolean {
  const start = at + recordHeaderBytes;
  const payload = bytes.subarray(start, start + recordPayloadBytes(bytes, at));
  return checksumOf(recordChecksumKind(bytes, at), payload) === recordPayloadChecksum(bytes, at);
}

/**
 * Turns the canonical header at `at` (its payload follows it) into a record's, with CRC-32C as
 * braft writes it on x86-64. `payloadCrc32c` is taken as given where the caller knows it.
 */
export function writeRecordHeader(bytes: Uint8Array, at: number, payloadCrc32c?: number): void {
  const start = at + recordHeaderBytes;
  const crc = payloadCrc32c ?? crc32c(bytes.subarray(start, start + recordPayloadBytes(bytes, at)));
  bytes[at + 9] = ChecksumKind.CRC32C;
  bytes[at + 10] = 0;
  bytes[at + 11] = 0;
  writeUint32(bytes, at + 16, crc);
  writeUint32(bytes, at + 20, shortCrc32c(bytes, at, checkedBytes));
}

/**
 * The canonical image's bytes (docs/image-format.md has the whole format).
 *
 *     preamble   "QSIMAGE\n", u16 major, u16 minor, u32 crc32c of these 12 bytes
 *     frames     32-byte header and stored bytes each, numbered from 0
 *
 *     frame header, big-endian
 *      0  "QSFR"
 *      4  u8   section
 *      5  u8   section version
 *      6  u8   flags: 1 ignorable, 2 content is compressed by LZ4
 *      7  u8   zero
 *      8  u64  sequence number
 *     16  u32  content bytes, uncompressed
 *     20  u32  stored bytes
 *     24  u32  crc32c of the stored bytes
 *     28  u32  crc32c of bytes 0 to 27
 *
 * Sections in order: HEADER, RANGE, META, LOG*, SNAPSHOT, (FILE, FILE_BYTES*)*, END. Nothing may
 * follow END, whose content holds the counts, the state digest and a BLAKE3 of all before its frame
 * but the bytes stored of bulk, whose content the digest covers. Each length is bounded before
 * anything is read or decompressed for it.
 */
import { crc32c } from '@node-rs/crc32';

import { fail } from '../../core/errors.ts';
import { ByteReader, ByteWriter } from './canonical-encoding.ts';
import type { StateCounts } from './state-stream.ts';

export const imageMagic = Buffer.from('QSIMAGE\n', 'latin1');
export const imageMajor = 1;
export const imageMinor = 0;
export const preambleBytes = 16;
export const frameHeaderBytes = 32;

export const Section = {
  HEADER: 1,
  RANGE: 2,
  META: 3,
  LOG: 4,
  SNAPSHOT: 5,
  FILE: 6,
  FILE_BYTES: 7,
  END: 15,
} as const;

/** The version of every section of this minor version. */
export const sectionVersion = 1;

export const ignorableFlag = 1;
export const lz4Flag = 2;

/**
 * Content of a LOG or FILE_BYTES frame: compressed and decompressed in one call, which never holds
 * the event loop for long. Of 256 KiB, their calls already showed; of 1 MiB, the threads that
 * compress kept 25 MB more.
 */
export const maxChunkBytes = 512 * 1024;
/** Content of every other frame: metadata, not bulk. */
export const maxPlainBytes = 16 * 1024 * 1024;

/** BLAKE3 derive-key context of the integrity hash in END. */
export const integrityContext = 'quorumshift image v1 integrity';

export interface FrameHeader {
  readonly section: number;
  readonly version: number;
  readonly flags: number;
  readonly sequence: bigint;
  readonly contentBytes: number;
  readonly storedBytes: number;
  readonly storedCrc: number;
}

const frameMagic = 0x51534652;

/** Whether the section's frames hold parts of the state's bulk, compressed or not. */
export function isBulk(section: number): boolean {
  return section === Section.LOG || section === Section.FILE_BYTES;
}

export function writePreamble(): Buffer {
  const bytes = Buffer.alloc(preambleBytes);
  imageMagic.copy(bytes);
  bytes.writeUInt16BE(imageMajor, 8);
  bytes.writeUInt16BE(imageMinor, 10);
  bytes.writeUInt32BE(crc32c(bytes.subarray(0, 12)), 12);
  return bytes;
}

/**
 * The image's minor version.
 * @throws `image.corrupt`, `image.unsupported-version`
 */
export function readPreamble(bytes: Buffer): number {
  if (!bytes.subarray(0, imageMagic.length).equals(imageMagic)) throw corrupt(0, 'it is no image');
  const [major, minor] = [bytes.readUInt16BE(8), bytes.readUInt16BE(10)];
  if (bytes.readUInt32BE(12) !== crc32c(bytes.subarray(0, 12))) {
    throw corrupt(8, 'the checksum of its version is wrong');
  }
  if (major !== imageMajor) throw unsupported(`${major}.${minor}`);
  return minor;
}

export function writeFrameHeader(target: Buffer, frame: FrameHeader): void {
  target.writeUInt32BE(frameMagic, 0);
  target.writeUInt8(frame.section, 4);
  target.writeUInt8(frame.version, 5);
  target.writeUInt8(frame.flags, 6);
  target.writeUInt8(0, 7);
  target.writeBigUInt64BE(frame.sequence, 8);
  target.writeUInt32BE(frame.contentBytes, 16);
  target.writeUInt32BE(frame.storedBytes, 20);
  target.writeUInt32BE(frame.storedCrc, 24);
  target.writeUInt32BE(crc32c(target.subarray(0, 28)), 28);
}

/** @throws `image.corrupt` at `offset`, the frame's place in the image */
export function readFrameHeader(bytes: Buffer, offset: number): FrameHeader {
  if (bytes.readUInt32BE(0) !== frameMagic) throw corrupt(offset, 'no frame begins here');
  if (bytes.readUInt32BE(28) !== crc32c(bytes.subarray(0, 28))) {
    throw corrupt(offset, "the checksum of a frame's header is wrong");
  }
  const frame = {
    section: bytes.readUInt8(4),
    version: bytes.readUInt8(5),
    flags: bytes.readUInt8(6),
    sequence: bytes.readBigUInt64BE(8),
    contentBytes: bytes.readUInt32BE(16),
    storedBytes: bytes.readUInt32BE(20),
    storedCrc: bytes.readUInt32BE(24),
  };
  checkBounds(frame, offset);
  if (bytes.readUInt8(7) !== 0) throw corrupt(offset, 'a reserved byte is set');
  return frame;
}

function checkBounds(frame: FrameHeader, offset: number): void {
  const compressed = (frame.flags & lz4Flag) !== 0;
  const maxContent = compressed || isBulk(frame.section) ? maxChunkBytes : maxPlainBytes;
  if (frame.contentBytes > maxContent) {
    throw corrupt(offset, 'a frame is larger than the format allows');
  }
  if (compressed && frame.storedBytes >= frame.contentBytes) {
    throw corrupt(offset, 'a compressed frame is no smaller than its content');
  }
  if (!compressed && frame.storedBytes !== frame.contentBytes) {
    throw corrupt(offset, 'the two lengths of a plain frame differ');
  }
}

/**
 * Where the image came from and the cut that it describes (IMG-2); not part of the state digest.
 */
export interface ImageHeader {
  readonly sourceFamily: string;
  readonly sourceFormatVersion: string;
  readonly cut: ImageCut;
}

export interface ImageCut {
  readonly firstIndex: bigint;
  readonly lastIndex: bigint;
  /** Current term at the cut. */
  readonly term: bigint;
  readonly snapshotIndex: bigint | null;
}

/** Names of what END's integrity data are made with. */
const integrityName = 'crc32c; blake3; state digest v1';

export function encodeImageHeader(header: ImageHeader): Buffer {
  const { cut } = header;
  const writer = new ByteWriter().text('quorumshift canonical image');
  writer.text(header.sourceFamily).text(header.sourceFormatVersion).text(integrityName);
  writer.i64(cut.firstIndex).i64(cut.lastIndex).i64(cut.term);
  return writer
    .u8(cut.snapshotIndex === null ? 0 : 1)
    .i64(cut.snapshotIndex ?? 0n)
    .finish();
}

export function decodeImageHeader(bytes: Buffer, offset: number): ImageHeader {
  const reader = new ByteReader(bytes, offset);
  const format = reader.text();
  const [sourceFamily, sourceFormatVersion] = [reader.text(), reader.text()];
  const integrity = reader.text();
  const [firstIndex, lastIndex, term] = [reader.i64(), reader.i64(), reader.i64()];
  const hasSnapshot = reader.flag();
  const snapshotIndex = reader.i64();
  reader.end();
  if (format !== 'quorumshift canonical image' || integrity !== integrityName) {
    throw corrupt(offset, 'its header names another format');
  }
  const cut = { firstIndex, lastIndex, term, snapshotIndex: hasSnapshot ? snapshotIndex : null };
  return { sourceFamily, sourceFormatVersion, cut };
}

/** Content of END. Digests are hexadecimal. */
export interface ImageTrailer {
  readonly counts: StateCounts;
  readonly digests: Readonly<Record<'root' | 'log' | 'meta' | 'snapshot', string>>;
  /** BLAKE3 of all bytes of the image before END's frame but those stored of bulk. */
  readonly integrity: Buffer;
}

export function encodeTrailer(trailer: ImageTrailer): Buffer {
  const { counts, digests } = trailer;
  const writer = new ByteWriter().count(counts.entries).count(counts.entryBytes);
  writer.count(counts.files).count(counts.fileBytes);
  for (const digest of [digests.root, digests.log, digests.meta, digests.snapshot]) {
    writer.raw(Buffer.from(digest, 'hex'));
  }
  return writer.raw(trailer.integrity).finish();
}

export function decodeTrailer(bytes: Buffer, offset: number): ImageTrailer {
  const reader = new ByteReader(bytes, offset);
  const counts = {
    entries: reader.count(),
    entryBytes: reader.count(),
    files: reader.count(),
    fileBytes: reader.count(),
  };
  const digest = () => reader.raw(32).toString('hex');
  const digests = { root: digest(), log: digest(), meta: digest(), snapshot: digest() };
  const integrity = reader.raw(32);
  reader.end();
  return { counts, digests, integrity };
}

export function corrupt(offset: number, reason: string): Error {
  return fail('image.corrupt', { offset, reason });
}

export function unsupported(actual: string): Error {
  return fail('image.unsupported-version', { supported: `${imageMajor}.x`, actual });
}

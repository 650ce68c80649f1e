/**
 * The frames of an image, one after the other: each is checked, by its header's checksum and the
 * one of what it stores, before its content is looked at. The next one is read meanwhile.
 */
import { Blake3Hasher } from '@napi-rs/blake-hash';
import { crc32c } from '@node-rs/crc32';

import { runChecksums } from '../run-checksums.ts';
import { buffersSpent } from '../spent-buffers.ts';
import {
  corrupt,
  decodeTrailer,
  frameHeaderBytes,
  ignorableFlag,
  imageMinor,
  integrityContext,
  isBulk,
  lz4Flag,
  maxChunkBytes,
  preambleBytes,
  readFrameHeader,
  readPreamble,
  Section,
  sectionVersion,
  unsupported,
  type FrameHeader,
} from './image-format.ts';
import type { ByteCursor } from './image-source.ts';

/**
 * One frame, its checksums verified. What is stored lies in memory of its own, or is valid as long
 * as {@link FrameMemory} says.
 */
export interface Frame extends FrameHeader {
  readonly offset: number;
  readonly stored: Buffer;
  /** Of the entries stored, where they were asked for and the frame holds whole ones. */
  readonly payloadCrc32c: Uint32Array | null;
}

export interface ReadImageOptions {
  /**
   * A batch of entries is done with when the section after the next is asked for, as it is by a
   * consumer behind `prefetch` that is done with one when it asks for the next: its memory is used
   * again.
   */
  readonly passing?: boolean;
  /**
   * Batches have `payloadCrc32c` where it costs less here than behind: of what is stored without
   * compression a frame's checksum follows from those of the payloads.
   */
  readonly payloadCrc32c?: boolean;
}

/**
 * Known frames in order, the last one END with the hash of all before it right.
 * @throws `image.corrupt` naming the byte offset; `image.unsupported-version`
 */
export async function* readFrames(
  cursor: ByteCursor,
  options: ReadImageOptions,
): AsyncGenerator<Frame> {
  const memory = new FrameMemory(options);
  const integrity = Blake3Hasher.newDeriveKey(integrityContext);
  const preamble = Buffer.alloc(preambleBytes);
  await cursor.fill(preamble);
  const minor = readPreamble(preamble);
  integrity.update(preamble);
  const head = Buffer.alloc(frameHeaderBytes);
  await cursor.fill(head);
  let pending = beginFrame(cursor, memory, { head, sequence: 0n });
  try {
    for (;;) {
      const read = await pending;
      const { header, bytes } = read;
      const last = header.section === Section.END;
      const next = { head: bytes.subarray(header.storedBytes), sequence: header.sequence + 1n };
      // While this one is checked and used.
      if (!last) pending = beginFrame(cursor, memory, next);
      const frame = checkedFrame(read, options);
      if (last) {
        requireIntegrity(frame, integrity.digestBuffer());
        if (!(await cursor.atEnd())) throw corrupt(cursor.offset, 'bytes follow its end');
        yield frame;
        return;
      }
      integrity.update(read.head);
      if (!isBulk(header.section)) integrity.update(frame.stored);
      if (isKnown(frame, minor)) yield frame;
    }
  } finally {
    await pending.catch(() => {});
  }
}

/** One frame as it was read: its header is checked, nothing else. */
interface RawFrame {
  readonly header: FrameHeader;
  readonly head: Buffer;
  readonly offset: number;
  /** What it stores and, but for the last, the header of the next frame: one read for each. */
  readonly bytes: Buffer;
}

/** Its failure is thrown to whoever awaits it, and is not unhandled until then. */
function beginFrame(
  cursor: ByteCursor,
  memory: FrameMemory,
  due: { readonly head: Buffer; readonly sequence: bigint },
): Promise<RawFrame> {
  const frame = readFrame(cursor, memory, due);
  frame.catch(() => {});
  return frame;
}

async function readFrame(
  cursor: ByteCursor,
  memory: FrameMemory,
  due: { readonly head: Buffer; readonly sequence: bigint },
): Promise<RawFrame> {
  const offset = cursor.offset - frameHeaderBytes;
  // Its memory may be used again.
  const head = Buffer.from(due.head);
  const header = readFrameHeader(head, offset);
  if (header.sequence !== due.sequence) {
    throw corrupt(offset, `frame ${header.sequence} is where frame ${due.sequence} is due`);
  }
  const last = header.section === Section.END;
  const bytes = memory.take(header, header.storedBytes + (last ? 0 : frameHeaderBytes));
  await cursor.fill(bytes);
  return { header, head, offset, bytes };
}

/** @throws `image.corrupt` when what it stores is not what its header says */
function checkedFrame({ header, offset, bytes }: RawFrame, options: ReadImageOptions): Frame {
  const stored = bytes.subarray(0, header.storedBytes);
  const isPlainLog = header.section === Section.LOG && !(header.flags & lz4Flag);
  const run = options.payloadCrc32c === true && isPlainLog ? runChecksums(stored) : null;
  if ((run?.whole ?? crc32c(stored)) !== header.storedCrc) {
    throw corrupt(offset + frameHeaderBytes, 'the checksum of a frame is wrong');
  }
  return { ...header, offset, stored, payloadCrc32c: run?.payloads ?? null };
}

/**
 * Memory for what frames store, used again where that is dead by then. Of the log's chunks three
 * are taken in turn: one is with the consumer, one is being checked while the next is being read.
 * Compressed content of files is decompressed at once: two are enough. Fresh buffers would cost
 * page faults.
 */
class FrameMemory {
  readonly #chunks: number;
  readonly #slots = new Map<string, Buffer>();
  #taken = 0;

  constructor({ passing = false }: ReadImageOptions) {
    this.#chunks = passing ? 3 : 0;
  }

  /** Of a frame with `header`. */
  take(header: FrameHeader, bytes: number): Buffer {
    const isLog = header.section === Section.LOG;
    if (isLog && this.#chunks > 0) return this.#slot('chunk', this.#chunks, bytes);
    if (header.flags & lz4Flag && !isLog) return this.#slot('compressed', 2, bytes);
    buffersSpent(bytes);
    return Buffer.allocUnsafeSlow(bytes);
  }

  /** One of `count` in turn. */
  #slot(use: string, count: number, bytes: number): Buffer {
    this.#taken += 1;
    const name = `${use} ${this.#taken % count}`;
    let slot = this.#slots.get(name);
    if (slot === undefined) {
      slot = Buffer.allocUnsafeSlow(maxChunkBytes + frameHeaderBytes);
      this.#slots.set(name, slot);
    }
    return slot.subarray(0, bytes);
  }
}

function requireIntegrity(frame: Frame, actual: Buffer): void {
  const { integrity } = decodeTrailer(frame.stored, frame.offset);
  if (!actual.equals(integrity)) {
    throw corrupt(frame.offset, 'the hash of what comes before its end is wrong');
  }
}

/** Whether this reader decodes the section; false for one that may be passed over (IMG-4). */
function isKnown(frame: Frame, minor: number): boolean {
  const sections: readonly number[] = Object.values(Section);
  const known = sections.includes(frame.section) && frame.version === sectionVersion;
  if (known && (frame.flags === 0 || (frame.flags === lz4Flag && isBulk(frame.section))))
    return true;
  if (minor > imageMinor && !known && (frame.flags & ignorableFlag) !== 0) return false;
  const what = `section ${frame.section} of version ${frame.version} with flags ${frame.flags}`;
  if (minor > imageMinor) throw unsupported(`1.${minor} with ${what} at byte ${frame.offset}`);
  throw corrupt(frame.offset, `${what} is unknown`);
}

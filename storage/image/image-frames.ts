/**
 * The frames of an image, one after the other: each is checked, by its header's checksum and the
 * one of what it stores, before its content is looked at. The next one is read meanwhile.
 */
import { Blake3Hasher } from '@napi-rs/blake-hash';
import { crc32c } from '@node-rs/crc32';

import { runChecksums } from '../run-checksums.ts';
import { buffersSpent } from '../spent-buffers.ts';
import { ChunkMemory, ChunkThread, chunkTurns } from './chunk-thread.ts';
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
  /** What it stores, decompressed, where that has been done already. */
  readonly unpacked: Buffer | null;
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
   * compression a frame's checksum follows from those of the payloads, and with `passing` a thread
   * works on the chunks of a larger image.
   */
  readonly payloadCrc32c?: boolean;
  /** For tests: a thread works already from so many bytes of the log on. */
  readonly threadFromBytes?: number;
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
  const checker = new FrameChecker(memory, options);
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
      const frame = await checker.check(read);
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
    await checker.end();
  }
}

/** One frame as it was read: its header is checked, nothing else. */
interface RawFrame {
  readonly header: FrameHeader;
  readonly head: Buffer;
  readonly offset: number;
  /** What it stores and, but for the last, the header of the next frame: one read for each. */
  readonly bytes: Buffer;
  /** Of the chunks' memory; null: it lies elsewhere. */
  readonly turn: number | null;
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
  const taken = memory.take(header, header.storedBytes + (last ? 0 : frameHeaderBytes));
  await cursor.fill(taken.bytes);
  return { header, head, offset, ...taken };
}

/** Below so many bytes of the log a thread's start costs more than it saves. */
const threadStartBytes = 4 * 1024 * 1024;
/** The thread works on what comes later: it has come up by then, some 40 ms after its start. */
const threadFromBytes = 64 * 1024 * 1024;

/** Holds what frames store against their headers. */
class FrameChecker {
  readonly #chunks: ChunkMemory | null;
  readonly #payloadCrc32c: boolean;
  readonly #threadFromBytes: number;
  #thread: ChunkThread | null = null;
  #chunkBytes = 0;

  constructor({ chunks }: FrameMemory, options: ReadImageOptions) {
    this.#payloadCrc32c = options.payloadCrc32c ?? false;
    this.#chunks = this.#payloadCrc32c ? chunks : null;
    this.#threadFromBytes = options.threadFromBytes ?? threadFromBytes;
  }

  /** @throws `image.corrupt` when the bytes are not those that the header's checksum is of */
  async check(read: RawFrame): Promise<Frame> {
    const checked = (await this.#byThread(read)) ?? this.#here(read);
    const { header, offset, bytes } = read;
    if (checked.crc !== header.storedCrc) {
      throw corrupt(offset + frameHeaderBytes, 'the checksum of a frame is wrong');
    }
    const { unpacked, payloadCrc32c } = checked;
    const stored = bytes.subarray(0, header.storedBytes);
    return { ...header, offset, stored, unpacked, payloadCrc32c };
  }

  #here({ header, bytes }: RawFrame): CheckedBytes {
    const stored = bytes.subarray(0, header.storedBytes);
    const isPlainLog = header.section === Section.LOG && !(header.flags & lz4Flag);
    const run = this.#payloadCrc32c && isPlainLog ? runChecksums(stored) : null;
    const crc = run?.whole ?? crc32c(stored);
    return { crc, unpacked: null, payloadCrc32c: run?.payloads ?? null };
  }

  /** Null where no thread works, or not yet. */
  async #byThread({ header, turn }: RawFrame): Promise<CheckedBytes | null> {
    const { storedBytes, storedCrc, contentBytes, flags } = header;
    if (turn === null || this.#chunks === null) return null;
    this.#chunkBytes += contentBytes;
    if (this.#chunkBytes >= Math.min(threadStartBytes, this.#threadFromBytes)) {
      this.#thread ??= new ChunkThread(this.#chunks);
    }
    if (this.#thread === null || this.#chunkBytes < this.#threadFromBytes) return null;
    const packedBytes = flags & lz4Flag ? contentBytes : null;
    const chunk = { turn, storedBytes, storedCrc, contentBytes: packedBytes };
    const { crc, unpacked, payloads } = await this.#thread.check(chunk);
    return {
      crc,
      unpacked: unpacked ? this.#chunks.content(turn, contentBytes) : null,
      payloadCrc32c: payloads === null ? null : this.#chunks.payloadCrc32c(turn, payloads),
    };
  }

  async end(): Promise<void> {
    await this.#thread?.end();
  }
}

interface CheckedBytes extends Pick<Frame, 'unpacked' | 'payloadCrc32c'> {
  readonly crc: number;
}

/**
 * Memory for what frames store, used again where that is dead by then. The log's chunks are taken
 * in turn; compressed content of files is decompressed at once: two are enough. Fresh buffers would
 * cost page faults.
 */
class FrameMemory {
  /** Null where a batch may be kept. */
  readonly chunks: ChunkMemory | null;
  readonly #packedFiles: Buffer[] = [];
  #taken = 0;

  constructor({ passing = false }: ReadImageOptions) {
    this.chunks = passing ? new ChunkMemory() : null;
  }

  /** Of a frame with `header`. */
  take(header: FrameHeader, bytes: number): Pick<RawFrame, 'bytes' | 'turn'> {
    this.#taken += 1;
    if (header.section === Section.LOG && this.chunks !== null) {
      const turn = this.#taken % chunkTurns;
      return { bytes: this.chunks.stored(turn, bytes), turn };
    }
    return { bytes: this.#other(header, bytes), turn: null };
  }

  #other({ section, flags }: FrameHeader, bytes: number): Buffer {
    if (flags & lz4Flag && section === Section.FILE_BYTES) {
      const turn = this.#taken % 2;
      const slot = (this.#packedFiles[turn] ??= Buffer.allocUnsafeSlow(packedFileBytes));
      return slot.subarray(0, bytes);
    }
    buffersSpent(bytes);
    return Buffer.allocUnsafeSlow(bytes);
  }
}

const packedFileBytes = maxChunkBytes + frameHeaderBytes;

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

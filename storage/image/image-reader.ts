/**
 * From the bytes of an image to a stream of sections. Every frame is checked before its content is
 * looked at; the state counts as read only after {@link verifiedState} has seen the trailer agree.
 */
import { setImmediate } from 'node:timers/promises';

import { hasCode, messageOf } from '../../core/errors.ts';
import type { SnapshotFile } from '../contracts.ts';
import {
  entryHeaderBytes,
  lastIndexOf,
  parseCanonicalRun,
  type EntryBatch,
} from '../entry-batch.ts';
import { unpack } from '../lz4.ts';
import {
  ByteReader,
  compareTextBytes,
  decodeMeta,
  decodeSnapshotFile,
  decodeSnapshotMeta,
} from './canonical-encoding.ts';
import {
  corrupt,
  decodeImageHeader,
  decodeTrailer,
  lz4Flag,
  Section,
  type ImageHeader,
  type ImageTrailer,
} from './image-format.ts';
import { readFrames, type Frame, type ReadImageOptions } from './image-frames.ts';
import { ByteCursor, type ImageBytes } from './image-source.ts';
import type { StateDigester } from './state-digester.ts';
import type { StateSection } from './state-stream.ts';

export type ImageSection =
  | { readonly kind: 'header'; readonly header: ImageHeader }
  | Exclude<StateSection, { kind: 'end' }>
  | { readonly kind: 'trailer'; readonly trailer: ImageTrailer; readonly offset: number };

/**
 * The sections of an image, the trailer last and nothing after it.
 * @throws `image.corrupt` naming the byte offset; `image.unsupported-version`
 */
export async function* readImage(
  bytes: ImageBytes,
  options: ReadImageOptions = {},
): AsyncGenerator<ImageSection> {
  const cursor = new ByteCursor(bytes);
  try {
    const order = new SectionOrder();
    const decoder = new SectionDecoder();
    for await (const frame of readFrames(cursor, options)) {
      order.accept(frame);
      const section = decoder.decode(frame);
      if (section !== null) yield section;
      // lz4-napi's buffers are freed only when the event loop turns.
      if (frame.flags & lz4Flag) await setImmediate();
    }
  } finally {
    await cursor.close();
  }
}

/** Which sections may follow which. */
const followers: Readonly<Record<number, readonly number[]>> = {
  0: [Section.HEADER],
  [Section.HEADER]: [Section.RANGE],
  [Section.RANGE]: [Section.META],
  [Section.META]: [Section.LOG, Section.SNAPSHOT],
  [Section.LOG]: [Section.LOG, Section.SNAPSHOT],
  [Section.SNAPSHOT]: [Section.FILE, Section.END],
  [Section.FILE]: [Section.FILE, Section.FILE_BYTES, Section.END],
  [Section.FILE_BYTES]: [Section.FILE, Section.FILE_BYTES, Section.END],
};

class SectionOrder {
  #last = 0;

  accept(frame: Frame): void {
    if (followers[this.#last]?.includes(frame.section) !== true) {
      throw corrupt(frame.offset, `section ${frame.section} may not follow section ${this.#last}`);
    }
    this.#last = frame.section;
  }
}

/** Decodes frames and holds them against each other: contiguous entries, whole files. */
class SectionDecoder {
  #header: ImageHeader | null = null;
  #range = { firstIndex: 0n, lastIndex: -1n };
  #nextIndex = 0n;
  /** An entry larger than a chunk, as far as it was read. */
  #large: { pieces: Buffer[]; missing: number } | null = null;
  #hasSnapshot = false;
  #file: SnapshotFile | null = null;
  #fileMissing = 0;

  decode(frame: Frame): ImageSection | null {
    const { stored, offset } = frame;
    switch (frame.section) {
      case Section.HEADER:
        this.#header = decodeImageHeader(stored, offset);
        return { kind: 'header', header: this.#header };
      case Section.RANGE:
        return this.#decodeRange(new ByteReader(stored, offset));
      case Section.META:
        return this.#decodeMeta(frame);
      case Section.LOG:
        return this.#decodeLog(frame, contentOf(frame));
      case Section.SNAPSHOT:
        return this.#decodeSnapshot(frame);
      case Section.FILE:
        return this.#decodeFile(frame);
      case Section.FILE_BYTES:
        return this.#decodeFileBytes(frame, contentOf(frame));
      default:
        this.#requireFileEnd(offset);
        return { kind: 'trailer', trailer: decodeTrailer(stored, offset), offset };
    }
  }

  #decodeRange(reader: ByteReader): ImageSection {
    const range = { firstIndex: reader.i64(), lastIndex: reader.i64() };
    reader.end();
    const cut = this.#header?.cut;
    if (cut?.firstIndex !== range.firstIndex || cut.lastIndex !== range.lastIndex) {
      throw reader.corrupt('its range is not that of its header');
    }
    if (range.firstIndex < 0n || range.lastIndex < range.firstIndex - 1n) {
      throw reader.corrupt(`${range.firstIndex}..${range.lastIndex} is no range`);
    }
    this.#range = range;
    this.#nextIndex = range.firstIndex;
    return { kind: 'range', ...range };
  }

  #decodeMeta(frame: Frame): ImageSection {
    const meta = decodeMeta(frame.stored, frame.offset);
    if (meta.term !== this.#header?.cut.term) {
      throw corrupt(frame.offset, 'its term is not that of its header');
    }
    return { kind: 'meta', meta };
  }

  #decodeLog(frame: Frame, content: Buffer): ImageSection | null {
    const batch = this.#batchOf(frame, content);
    if (batch === null) return null;
    if (batch.count === 0) throw corrupt(frame.offset, 'a chunk of the log is empty');
    if (lastIndexOf(batch) > this.#range.lastIndex) {
      throw corrupt(frame.offset, `an entry lies beyond the range, at ${lastIndexOf(batch)}`);
    }
    this.#nextIndex = lastIndexOf(batch) + 1n;
    return { kind: 'entries', batch };
  }

  /** The entries of a chunk; null while the chunks of a large entry are incomplete. */
  #batchOf(frame: Frame, content: Buffer): EntryBatch | null {
    this.#large ??= beginLarge(content);
    if (this.#large === null) {
      const batch = parseRun(content, { frame, firstIndex: this.#nextIndex });
      const { payloadCrc32c, stored } = frame;
      if (payloadCrc32c !== null) return { ...batch, payloadCrc32c };
      return frame.flags & lz4Flag ? { ...batch, packed: stored } : batch;
    }
    const { pieces } = this.#large;
    // Pieces stay until the last one is there.
    pieces.push(Buffer.from(content));
    this.#large.missing -= content.length;
    if (this.#large.missing < 0) throw corrupt(frame.offset, 'bytes follow a large entry');
    if (this.#large.missing > 0) return null;
    this.#large = null;
    return parseRun(Buffer.concat(pieces), { frame, firstIndex: this.#nextIndex });
  }

  #decodeSnapshot(frame: Frame): ImageSection {
    if (this.#large !== null || this.#nextIndex !== this.#range.lastIndex + 1n) {
      throw corrupt(frame.offset, `the log ends before entry ${this.#nextIndex}`);
    }
    const reader = new ByteReader(frame.stored, frame.offset);
    const bytes = reader.optional();
    reader.end();
    const meta = bytes && decodeSnapshotMeta(bytes, frame.offset);
    if ((meta?.lastIncludedIndex ?? null) !== (this.#header?.cut.snapshotIndex ?? null)) {
      throw corrupt(frame.offset, 'its snapshot is not that of its header');
    }
    this.#hasSnapshot = meta !== null;
    return { kind: 'snapshot', meta };
  }

  #decodeFile(frame: Frame): ImageSection {
    this.#requireFileEnd(frame.offset);
    const file = decodeSnapshotFile(frame.stored, frame.offset);
    if (!this.#hasSnapshot) throw corrupt(frame.offset, 'a file comes without a snapshot');
    if (this.#file !== null && compareTextBytes(this.#file.path, file.path) >= 0) {
      throw corrupt(frame.offset, `file "${file.path}" is out of order`);
    }
    this.#file = file;
    this.#fileMissing = file.bytes;
    return { kind: 'file', file };
  }

  #decodeFileBytes(frame: Frame, bytes: Buffer): ImageSection {
    this.#fileMissing -= bytes.length;
    if (bytes.length === 0) throw corrupt(frame.offset, 'a chunk of a file is empty');
    if (this.#fileMissing < 0) throw corrupt(frame.offset, 'a file has more bytes than it says');
    return { kind: 'fileBytes', bytes };
  }

  #requireFileEnd(offset: number): void {
    if (this.#fileMissing === 0) return;
    throw corrupt(offset, `file "${this.#file?.path}" lacks ${this.#fileMissing} bytes`);
  }
}

function contentOf(frame: Frame): Buffer {
  if (!(frame.flags & lz4Flag)) return frame.stored;
  let content: Buffer;
  try {
    content = unpack(frame.stored, frame.contentBytes);
  } catch (cause) {
    const text = messageOf(cause);
    throw corrupt(frame.offset, `a chunk cannot be decompressed: ${text}`);
  }
  if (content.length === frame.contentBytes) return content;
  throw corrupt(frame.offset, 'a chunk has another size than its header says');
}

/** Whether `content` begins an entry that is larger than itself. */
function beginLarge(content: Buffer): { pieces: Buffer[]; missing: number } | null {
  if (content.length < entryHeaderBytes) return null;
  const bytes = entryHeaderBytes + content.readUInt32BE(12);
  return bytes > content.length ? { pieces: [], missing: bytes } : null;
}

function parseRun(content: Buffer, place: { frame: Frame; firstIndex: bigint }): EntryBatch {
  try {
    return parseCanonicalRun(content, place.firstIndex);
  } catch (error) {
    if (!hasCode(error, 'log.invalid-batch')) throw error;
    const reason = `a chunk of the log is malformed: ${error.details['reason']}`;
    throw corrupt(place.frame.offset, reason);
  }
}

/**
 * The state of an image for a consumer that feeds `digester` with each section before it asks for
 * the next: ends with `end` only when counts and digests are those of the trailer (IMG-5).
 * @throws `image.corrupt`
 */
export async function* verifiedState(
  sections: AsyncIterable<ImageSection>,
  digester: StateDigester,
): AsyncGenerator<StateSection> {
  for await (const section of sections) {
    if (section.kind === 'header') continue;
    if (section.kind !== 'trailer') yield section;
    else yield { kind: 'end', ...requireTrailer(digester, section) };
  }
}

function requireTrailer(
  digester: StateDigester,
  section: { readonly trailer: ImageTrailer; readonly offset: number },
): ReturnType<StateDigester['finish']> {
  const { trailer, offset } = section;
  const found = digester.finish();
  const { digest, counts } = found;
  const same =
    JSON.stringify(counts) === JSON.stringify(trailer.counts) &&
    JSON.stringify({ root: digest.root, ...digest.parts }) === JSON.stringify(trailer.digests);
  if (!same) throw corrupt(offset, 'its counts or digests are not those of what it holds');
  return found;
}

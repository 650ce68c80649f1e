/**
 * From a stream of sections to the bytes of an image. A few frames are compressed while the one
 * before them is written; memory holds those, the one being gathered, and nothing else of the
 * state.
 */
import { Blake3Hasher } from '@napi-rs/blake-hash';
import { crc32c } from '@node-rs/crc32';

import { assert, fail } from '../../core/errors.ts';
import {
  ByteWriter,
  encodeMeta,
  encodeSnapshotFile,
  encodeSnapshotMeta,
} from './canonical-encoding.ts';
import {
  encodeImageHeader,
  encodeTrailer,
  frameHeaderBytes,
  integrityContext,
  isBulk,
  lz4Flag,
  maxPlainBytes,
  Section,
  sectionVersion,
  writeFrameHeader,
  writePreamble,
  type ImageHeader,
} from './image-format.ts';
import type { ImageSink } from './image-sink.ts';
import { pack } from '../lz4.ts';
import { addBytes, addEntries, ChunkMemory, finishChunk } from './log-chunks.ts';
import type { StateCounts, StateSection, StateStream } from './state-stream.ts';
import type { StateDigest } from './state-digester.ts';

/**
 * Frames being compressed, by libuv's threads, while another is written: two threads never wait for
 * this one to give them the next. More is more memory.
 */
const framesAhead = 3;

/** A frame whose stored bytes are being made. */
interface PendingFrame {
  readonly section: number;
  readonly content: Buffer;
  /** Null: the content as it is. */
  readonly packed: Promise<Buffer | null>;
}

export interface WrittenImage {
  readonly digest: StateDigest;
  readonly counts: StateCounts;
  readonly imageBytes: number;
}

/**
 * Writes the whole image; does not finish the sink.
 * @throws `limit.exceeded` for metadata that no frame holds; what stream and sink throw
 */
export async function writeImage(
  stream: StateStream,
  options: { header: ImageHeader; sink: ImageSink },
): Promise<WrittenImage> {
  const frames = new FrameWriter(options.sink);
  await frames.begin();
  await frames.plain(Section.HEADER, encodeImageHeader(options.header));
  const sections = new SectionWriter(frames);
  for await (const section of stream) {
    if (section.kind !== 'end') {
      await sections.write(section);
      continue;
    }
    await sections.finish();
    const { counts, digest } = section;
    await frames.end({ counts, digests: { root: digest.root, ...digest.parts } });
    return { digest, counts, imageBytes: frames.bytes };
  }
  throw fail('image.corrupt', { offset: frames.bytes, reason: 'its state ended early' });
}

/** Turns sections into frames, each chunked by its own rule. */
class SectionWriter {
  readonly #frames: FrameWriter;
  readonly #memory = new ChunkMemory(framesAhead);

  constructor(frames: FrameWriter) {
    this.#frames = frames;
  }

  async write(section: Exclude<StateSection, { kind: 'end' }>): Promise<void> {
    switch (section.kind) {
      case 'range': {
        const range = new ByteWriter().i64(section.firstIndex).i64(section.lastIndex);
        return this.#frames.plain(Section.RANGE, range.finish());
      }
      case 'meta':
        return this.#frames.plain(Section.META, encodeMeta(section.meta));
      case 'entries':
        return this.#chunks(Section.LOG, addEntries(this.#memory, section.batch));
      case 'snapshot': {
        await this.#chunks(Section.LOG, finishChunk(this.#memory));
        const content = new ByteWriter().optional(section.meta && encodeSnapshotMeta(section.meta));
        return this.#frames.plain(Section.SNAPSHOT, content.finish());
      }
      case 'file':
        await this.finish();
        return this.#frames.plain(Section.FILE, encodeSnapshotFile(section.file));
      case 'fileBytes':
        return this.#chunks(Section.FILE_BYTES, addBytes(this.#memory, section.bytes));
    }
  }

  /** Ends the file that is being written. */
  async finish(): Promise<void> {
    await this.#chunks(Section.FILE_BYTES, finishChunk(this.#memory));
  }

  async #chunks(section: number, chunks: Iterable<Buffer>): Promise<void> {
    for (const chunk of chunks) await this.#frames.bulk(section, chunk);
  }
}

/** Numbers, compresses, checksums and writes frames, in order. */
class FrameWriter {
  readonly #sink: ImageSink;
  readonly #integrity = Blake3Hasher.newDeriveKey(integrityContext);
  readonly #pending: PendingFrame[] = [];
  #sequence = 0n;
  bytes = 0;

  constructor(sink: ImageSink) {
    this.#sink = sink;
  }

  async begin(): Promise<void> {
    const preamble = writePreamble();
    this.#integrity.update(preamble);
    await this.#write(preamble);
  }

  async plain(section: number, content: Buffer): Promise<void> {
    if (content.length > maxPlainBytes) throw tooLarge(content.length);
    await this.#enqueue({ section, content, packed: Promise.resolve(null) });
  }

  async bulk(section: number, content: Buffer): Promise<void> {
    const packed = pack(content);
    // Its failure belongs to the await in #drain; until then it is not unhandled.
    packed.catch(() => {});
    await this.#enqueue({ section, content, packed });
  }

  async end(trailer: {
    counts: StateCounts;
    digests: Record<'root' | 'log' | 'meta' | 'snapshot', string>;
  }): Promise<void> {
    await this.#drain(0);
    const integrity = this.#integrity.digestBuffer();
    await this.plain(Section.END, encodeTrailer({ ...trailer, integrity }));
    await this.#drain(0);
  }

  async #enqueue(frame: PendingFrame): Promise<void> {
    this.#pending.push(frame);
    await this.#drain(framesAhead);
  }

  async #drain(left: number): Promise<void> {
    while (this.#pending.length > left) {
      const frame = this.#pending.shift();
      assert(frame !== undefined, 'a longer queue is not empty');
      await this.#writeFrame(frame, await frame.packed);
    }
  }

  async #writeFrame({ section, content }: PendingFrame, packed: Buffer | null): Promise<void> {
    const stored = packed ?? content;
    const head = Buffer.alloc(frameHeaderBytes);
    writeFrameHeader(head, {
      section,
      version: sectionVersion,
      flags: packed === null ? 0 : lz4Flag,
      sequence: this.#sequence,
      contentBytes: content.length,
      storedBytes: stored.length,
      storedCrc: crc32c(stored),
    });
    this.#sequence += 1n;
    this.#integrity.update(head);
    if (!isBulk(section)) this.#integrity.update(stored);
    await this.#write(head);
    await this.#write(stored);
  }

  async #write(bytes: Buffer): Promise<void> {
    this.bytes += bytes.length;
    await this.#sink.write(bytes);
  }
}

function tooLarge(actualBytes: number): Error {
  return fail('limit.exceeded', {
    family: 'image',
    what: 'metadata',
    limit: `at most ${maxPlainBytes} bytes`,
    actual: `${actualBytes} bytes`,
  });
}

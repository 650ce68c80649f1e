/**
 * From a stream of sections to the bytes of an image. A frame is compressed while the one before
 * it is written; memory holds those, the one being gathered, and nothing else of the state.
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
  blockBytes,
  encodeImageHeader,
  encodeTrailer,
  frameHeaderBytes,
  integrityContext,
  lz4Flag,
  maxChunkBytes,
  maxPlainBytes,
  Section,
  sectionVersion,
  writeFrameHeader,
  writePreamble,
  type ImageHeader,
} from './image-format.ts';
import type { ImageSink } from './image-sink.ts';
import { FileChunker, LogChunker, type Chunk } from './log-chunks.ts';
import { compressBlocks } from './lz4-blocks.ts';
import type { StateCounts, StateSection, StateStream } from './state-stream.ts';
import type { StateDigest } from './state-digester.ts';

/** Frames being compressed while another is written: by two threads each; more is more memory. */
const framesAhead = 1;

/** A frame whose stored bytes are being made. */
interface PendingFrame {
  readonly section: number;
  readonly flags: number;
  readonly contentBytes: number;
  readonly stored: Promise<readonly Uint8Array[]>;
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
  readonly #log = new LogChunker(framesAhead);
  readonly #file = new FileChunker();

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
        return this.#chunks(Section.LOG, this.#log.add(section.batch));
      case 'snapshot': {
        await this.#chunks(Section.LOG, this.#log.finish());
        const content = new ByteWriter().optional(section.meta && encodeSnapshotMeta(section.meta));
        return this.#frames.plain(Section.SNAPSHOT, content.finish());
      }
      case 'file':
        await this.finish();
        return this.#frames.plain(Section.FILE, encodeSnapshotFile(section.file));
      case 'fileBytes':
        return this.#chunks(Section.FILE_BYTES, this.#file.add(section.bytes));
    }
  }

  /** Ends the file that is being written. */
  async finish(): Promise<void> {
    await this.#chunks(Section.FILE_BYTES, this.#file.finish());
  }

  async #chunks(section: number, chunks: Iterable<Chunk>): Promise<void> {
    for (const chunk of chunks) await this.#frames.compressed(section, chunk);
  }
}

/** Numbers, compresses, checksums and writes frames, in order. */
class FrameWriter {
  readonly #sink: ImageSink;
  readonly #integrity = Blake3Hasher.newDeriveKey(integrityContext);
  readonly #pending: PendingFrame[] = [];
  /** Reused: the sink has taken a frame's bytes before the next is put together. */
  readonly #buffer = Buffer.allocUnsafeSlow(
    frameHeaderBytes + maxChunkBytes + 4 * Math.ceil(maxChunkBytes / blockBytes),
  );
  #sequence = 0n;
  bytes = 0;

  constructor(sink: ImageSink) {
    this.#sink = sink;
  }

  async begin(): Promise<void> {
    await this.#write(writePreamble());
  }

  async plain(section: number, content: Buffer): Promise<void> {
    if (content.length > maxPlainBytes) throw tooLarge(content.length);
    const stored = Promise.resolve([content]);
    await this.#enqueue({ section, flags: 0, contentBytes: content.length, stored });
  }

  async compressed(section: number, chunk: Chunk): Promise<void> {
    const contentBytes = chunk.reduce((sum, piece) => sum + piece.length, 0);
    const stored = compressBlocks(chunk);
    // Its failure belongs to the await in #drain; until then it is not unhandled.
    stored.catch(() => {});
    await this.#enqueue({ section, flags: lz4Flag, contentBytes, stored });
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
      await this.#writeFrame(frame, await frame.stored);
    }
  }

  async #writeFrame(frame: PendingFrame, stored: readonly Uint8Array[]): Promise<void> {
    const storedBytes = stored.reduce((sum, part) => sum + part.length, 0);
    const total = frameHeaderBytes + storedBytes;
    const fits = total <= this.#buffer.length;
    const bytes = fits ? this.#buffer.subarray(0, total) : Buffer.allocUnsafeSlow(total);
    let at = frameHeaderBytes;
    for (const part of stored) {
      bytes.set(part, at);
      at += part.length;
    }
    writeFrameHeader(bytes, {
      section: frame.section,
      version: sectionVersion,
      flags: frame.flags,
      sequence: this.#sequence,
      contentBytes: frame.contentBytes,
      storedBytes,
      storedCrc: crc32c(bytes.subarray(frameHeaderBytes)),
    });
    this.#sequence += 1n;
    await this.#write(bytes);
  }

  async #write(bytes: Buffer): Promise<void> {
    this.#integrity.update(bytes);
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

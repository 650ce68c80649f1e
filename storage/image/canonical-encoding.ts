/**
 * The canonical binary form of metadata, snapshot metadata and snapshot file descriptions: what the
 * image stores and the state digest hashes (docs/image-format.md, "Encodings").
 *
 * All integers are big-endian. Bytes and texts (UTF-8) follow a u32 length. A map is a u32 count
 * and its pairs in ascending order of the key's bytes. Optional bytes follow a u8 that is 0 or 1.
 * There is one encoding for each value, and decoding refuses any other, so that equal bytes and
 * equal values are the same thing.
 */
import { fail } from '../../core/errors.ts';
import type { Auxiliary, RaftMeta, SnapshotFile, SnapshotMeta } from '../contracts.ts';
import { normaliseVote } from '../meta-rules.ts';

/** Appends values to a growing list of byte strings. */
export class ByteWriter {
  readonly #parts: Uint8Array[] = [];

  u8(value: number): this {
    return this.raw(Uint8Array.of(value));
  }

  u32(value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return this.raw(bytes);
  }

  i64(value: bigint): this {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64BE(value);
    return this.raw(bytes);
  }

  /** A count or size, as i64. */
  count(value: number): this {
    return this.i64(BigInt(value));
  }

  bytes(value: Uint8Array): this {
    return this.u32(value.length).raw(value);
  }

  text(value: string): this {
    return this.bytes(Buffer.from(value, 'utf8'));
  }

  optional(value: Uint8Array | null): this {
    return value === null ? this.u8(0) : this.u8(1).bytes(value);
  }

  raw(value: Uint8Array): this {
    this.#parts.push(value);
    return this;
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

/** Reads values; every failure is `image.corrupt` at `imageOffset`, the place of the section. */
export class ByteReader {
  readonly #bytes: Buffer;
  readonly #imageOffset: number;
  readonly #utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #at = 0;

  constructor(bytes: Buffer, imageOffset: number) {
    this.#bytes = bytes;
    this.#imageOffset = imageOffset;
  }

  u8(): number {
    return this.raw(1).readUInt8();
  }

  u32(): number {
    return this.raw(4).readUInt32BE();
  }

  i64(): bigint {
    return this.raw(8).readBigInt64BE();
  }

  /** @throws `image.corrupt` when negative or beyond what a number holds exactly */
  count(): number {
    const value = Number(this.i64());
    if (value < 0 || !Number.isSafeInteger(value)) throw this.corrupt('a count is out of range');
    return value;
  }

  flag(): boolean {
    const value = this.u8();
    if (value > 1) throw this.corrupt(`a flag is ${value}, neither 0 nor 1`);
    return value === 1;
  }

  bytes(): Buffer {
    return this.raw(this.u32());
  }

  text(): string {
    const bytes = this.bytes();
    try {
      return this.#utf8.decode(bytes);
    } catch {
      throw this.corrupt('a text is not UTF-8');
    }
  }

  optional(): Buffer | null {
    return this.flag() ? this.bytes() : null;
  }

  raw(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw this.corrupt('a section is shorter than its content');
    const value = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return value;
  }

  /** @throws `image.corrupt` when bytes are left */
  end(): void {
    if (this.#at !== this.#bytes.length)
      throw this.corrupt('a section has bytes after its content');
  }

  corrupt(reason: string): Error {
    return fail('image.corrupt', { offset: this.#imageOffset, reason });
  }
}

export function encodeMeta(meta: RaftMeta): Buffer {
  const writer = new ByteWriter().i64(meta.term).optional(normaliseVote(meta.votedFor));
  return writeAuxiliary(writer, meta.auxiliary).finish();
}

/** @throws `image.corrupt` */
export function decodeMeta(bytes: Buffer, imageOffset: number): RaftMeta {
  const reader = new ByteReader(bytes, imageOffset);
  const meta = {
    term: reader.i64(),
    votedFor: reader.optional(),
    auxiliary: readAuxiliary(reader),
  };
  reader.end();
  if (meta.votedFor !== null && normaliseVote(meta.votedFor) === null) {
    throw reader.corrupt('a vote for no one is written as a vote');
  }
  return meta;
}

export function encodeSnapshotMeta(meta: SnapshotMeta): Buffer {
  const writer = new ByteWriter().i64(meta.lastIncludedIndex).i64(meta.lastIncludedTerm);
  for (const peers of [meta.peers, meta.oldPeers]) {
    writer.u32(peers.length);
    for (const peer of peers) writer.text(peer);
  }
  return writeAuxiliary(writer, meta.auxiliary).finish();
}

/** @throws `image.corrupt` */
export function decodeSnapshotMeta(bytes: Buffer, imageOffset: number): SnapshotMeta {
  const reader = new ByteReader(bytes, imageOffset);
  const meta = {
    lastIncludedIndex: reader.i64(),
    lastIncludedTerm: reader.i64(),
    peers: readTexts(reader),
    oldPeers: readTexts(reader),
    auxiliary: readAuxiliary(reader),
  };
  reader.end();
  return meta;
}

export function encodeSnapshotFile(file: SnapshotFile): Buffer {
  return new ByteWriter().text(file.path).count(file.bytes).optional(file.userMeta).finish();
}

/** @throws `image.corrupt` */
export function decodeSnapshotFile(bytes: Buffer, imageOffset: number): SnapshotFile {
  const reader = new ByteReader(bytes, imageOffset);
  const file = { path: reader.text(), bytes: reader.count(), userMeta: reader.optional() };
  reader.end();
  return file;
}

/** The order of map keys and of snapshot paths: by their UTF-8 bytes. */
export function compareTextBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'));
}

function writeAuxiliary(writer: ByteWriter, auxiliary: Auxiliary): ByteWriter {
  const pairs = [...auxiliary].toSorted(([a], [b]) => compareTextBytes(a, b));
  writer.u32(pairs.length);
  for (const [key, value] of pairs) writer.text(key).bytes(value);
  return writer;
}

function readAuxiliary(reader: ByteReader): Map<string, Buffer> {
  const auxiliary = new Map<string, Buffer>();
  let previous: string | null = null;
  for (let left = reader.u32(); left > 0; left -= 1) {
    const key = reader.text();
    if (previous !== null && compareTextBytes(previous, key) >= 0) {
      throw reader.corrupt('the keys of a map are not in order');
    }
    auxiliary.set(key, reader.bytes());
    previous = key;
  }
  return auxiliary;
}

function readTexts(reader: ByteReader): string[] {
  const texts: string[] = [];
  for (let left = reader.u32(); left > 0; left -= 1) texts.push(reader.text());
  return texts;
}

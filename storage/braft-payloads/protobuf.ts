/**
 * The part of protobuf's proto2 wire format that braft's files need: varints and length-delimited
 * fields (https://protobuf.dev/programming-guides/encoding). Unknown fields are skipped, as proto2
 * parsers do; groups too.
 */

/** A field as it lies in a message; exactly one of `varint` and `bytes` matches its wire type. */
export type WireField =
  | { readonly number: number; readonly kind: 'varint'; readonly varint: bigint }
  | { readonly number: number; readonly kind: 'bytes'; readonly bytes: Buffer }
  | { readonly number: number; readonly kind: 'other' };

const wireVarint = 0;
const wireFixed64 = 1;
const wireBytes = 2;
const wireStartGroup = 3;
const wireEndGroup = 4;
const wireFixed32 = 5;

/** A varint of 64 bits has at most 10 bytes. */
const maxVarintBytes = 10;

/** C++ parsers read at most 5 bytes of a tag, and drop what is above 32 bits. */
const maxTagBytes = 5;

/** They refuse a length in more than 5 bytes, even of zeros, and one of 2 GiB or more. */
const maxLengthBytes = 5;
const maxLength = 2n ** 31n - 1n;

/** Depth of nested groups that is followed; protobuf's own default limit. */
const maxGroupDepth = 100;

class WireReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** The next varint as an unsigned 64-bit number; null when it is cut short or too long. */
  varint(maxBytes = maxVarintBytes): bigint | null {
    let value = 0n;
    for (let i = 0; i < maxBytes; i += 1) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) return null;
      this.#at += 1;
      value |= BigInt(byte & 0x7f) << BigInt(7 * i);
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    return null;
  }

  /** The next tag, 32 bits. */
  tag(): bigint | null {
    const tag = this.varint(maxTagBytes);
    return tag === null ? null : BigInt.asUintN(32, tag);
  }

  /** A length and as many bytes. */
  delimited(): Buffer | null {
    const length = this.varint(maxLengthBytes);
    return length === null || length > maxLength ? null : this.take(length);
  }

  take(length: bigint): Buffer | null {
    if (length > BigInt(this.#bytes.length - this.#at)) return null;
    const start = this.#at;
    this.#at += Number(length);
    return this.#bytes.subarray(start, this.#at);
  }

  /** The next field; null when the message is malformed here. */
  field(depth = 0): WireField | null {
    const tag = this.tag();
    if (tag === null) return null;
    const number = Number(tag >> 3n);
    if (number === 0) return null;
    return this.#value(number, Number(tag & 7n), depth);
  }

  #value(number: number, wireType: number, depth: number): WireField | null {
    if (wireType === wireVarint) {
      const varint = this.varint();
      return varint === null ? null : { number, kind: 'varint', varint };
    }
    if (wireType === wireBytes) {
      const bytes = this.delimited();
      return bytes === null ? null : { number, kind: 'bytes', bytes };
    }
    return this.#skip(number, wireType, depth) ? { number, kind: 'other' } : null;
  }

  #skip(number: number, wireType: number, depth: number): boolean {
    if (wireType === wireFixed64) return this.take(8n) !== null;
    if (wireType === wireFixed32) return this.take(4n) !== null;
    return wireType === wireStartGroup && depth < maxGroupDepth && this.#skipGroup(number, depth);
  }

  #skipGroup(number: number, depth: number): boolean {
    while (!this.atEnd) {
      const before = this.#at;
      if (this.tag() === (BigInt(number) << 3n) + BigInt(wireEndGroup)) return true;
      this.#at = before;
      if (this.field(depth + 1) === null) return false;
    }
    return false;
  }
}

/**
 * The fields of a message in order. `whole` is false when the message is malformed; `fields` are
 * then those before the fault, which is what a C++ parser has set when it gives up.
 */
export function parseMessage(bytes: Uint8Array): { fields: WireField[]; whole: boolean } {
  const reader = new WireReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  const fields: WireField[] = [];
  while (!reader.atEnd) {
    const field = reader.field();
    if (field === null) return { fields, whole: false };
    fields.push(field);
  }
  return { fields, whole: true };
}

/** The last value of the int64 field `number` (the last one wins); undefined when absent. */
export function lastInt64(fields: readonly WireField[], number: number): bigint | undefined {
  const field = fields.findLast((f) => f.number === number && f.kind === 'varint');
  return field?.kind === 'varint' ? BigInt.asIntN(64, field.varint) : undefined;
}

/** Every value of the length-delimited field `number`, in order. */
export function allBytes(fields: readonly WireField[], number: number): Buffer[] {
  return fields.flatMap((f) => (f.number === number && f.kind === 'bytes' ? [f.bytes] : []));
}

function encodeVarint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

/** An int64 field; negative numbers take 10 bytes, as in protobuf. */
export function int64Field(number: number, value: bigint): Buffer {
  return Buffer.concat([encodeVarint(BigInt((number << 3) | wireVarint)), encodeVarint(value)]);
}

export function bytesField(number: number, value: Uint8Array): Buffer {
  const tag = encodeVarint(BigInt((number << 3) | wireBytes));
  return Buffer.concat([tag, encodeVarint(BigInt(value.length)), value]);
}

export function textField(number: number, value: string): Buffer {
  return bytesField(number, Buffer.from(value, 'utf8'));
}

/** All values of a repeated string field. */
export function allTexts(fields: Parameters<typeof allBytes>[0], number: number): string[] {
  return allBytes(fields, number).map((bytes) => bytes.toString('utf8'));
}

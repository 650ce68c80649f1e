/**
 * Entries in canonical form: the one in-memory shape of log entries in this code base.
 *
 * A canonical entry is a 24-byte big-endian header and the payload:
 *
 *     0  i64  term
 *     8  u8   type (raw number)
 *     9       three zero bytes
 *    12  u32  payload length in bytes
 *    16  i64  index
 *    24       payload
 *
 * It has the size of a braft record, so that a segment becomes canonical by rewriting headers in
 * place; digest leaves and image chunks hold exactly these bytes (docs/image-format.md).
 */
import { fail } from '../core/errors.ts';

export const entryHeaderBytes = 24;

/** Raw numbers of braft's EntryType; others are kept as they are. */
export const EntryType = { UNKNOWN: 0, NO_OP: 1, DATA: 2, CONFIGURATION: 3 } as const;

/** One entry as an object: for tests, tools and single reads; bulk work stays in batches. */
export interface LogEntry {
  readonly index: bigint;
  readonly term: bigint;
  readonly type: number;
  readonly payload: Uint8Array;
}

/**
 * A run of contiguous entries. `bytes` holds `count` canonical entries back to back; entry `i`
 * (index `firstIndex + i`) lies at `[offsets[i], offsets[i + 1])`. A batch owns its bytes: nobody
 * changes them while anyone may still read the batch.
 */
export interface EntryBatch {
  readonly firstIndex: bigint;
  readonly count: number;
  readonly bytes: Buffer;
  /** `count + 1` byte offsets into `bytes`; `offsets[0]` need not be 0. */
  readonly offsets: Uint32Array;
  /** CRC-32C of each payload where the reader has verified it already; saves a writer the work. */
  readonly payloadCrc32c?: Uint32Array;
  /** The same as the source states it, not compared yet: where a reader asked to be told only. */
  readonly statedCrc32c?: Uint32Array;
  /**
   * All the entries as lz4.ts packs them, where the reader had them so; saves a writer that keeps
   * them so the compression. Lasts as long as `bytes`.
   */
  readonly packed?: Buffer;
}

export function lastIndexOf(batch: EntryBatch): bigint {
  return batch.firstIndex + BigInt(batch.count) - 1n;
}

/** Offset of entry `i`; `i === count` gives the end. */
export function offsetAt(batch: EntryBatch, i: number): number {
  const offset = batch.offsets[i];
  if (offset === undefined) throw fail('log.invalid-batch', { reason: `no entry ${i} in it` });
  return offset;
}

/** Bytes of the whole batch, headers included. */
export function batchBytes(batch: EntryBatch): number {
  return offsetAt(batch, batch.count) - offsetAt(batch, 0);
}

/** The canonical bytes `[offsets[0], offsets[count])`, without a copy. */
export function canonicalBytes(batch: EntryBatch): Buffer {
  return batch.bytes.subarray(offsetAt(batch, 0), offsetAt(batch, batch.count));
}

export function termAt(batch: EntryBatch, i: number): bigint {
  return batch.bytes.readBigInt64BE(offsetAt(batch, i));
}

export function typeAt(batch: EntryBatch, i: number): number {
  return batch.bytes.readUInt8(offsetAt(batch, i) + 8);
}

/** The payload of entry `i`, a view. */
export function payloadAt(batch: EntryBatch, i: number): Buffer {
  return batch.bytes.subarray(offsetAt(batch, i) + entryHeaderBytes, offsetAt(batch, i + 1));
}

export function entryAt(batch: EntryBatch, i: number): LogEntry {
  return {
    index: batch.firstIndex + BigInt(i),
    term: termAt(batch, i),
    type: typeAt(batch, i),
    payload: payloadAt(batch, i),
  };
}

/** Entries `[start, end)` of the batch by position, sharing its bytes. */
export function sliceBatch(batch: EntryBatch, start: number, end: number): EntryBatch {
  if (start === 0 && end === batch.count) return batch;
  const slice = {
    firstIndex: batch.firstIndex + BigInt(start),
    count: end - start,
    bytes: batch.bytes,
    offsets: batch.offsets.subarray(start, end + 1),
  };
  const payloadCrc32c = batch.payloadCrc32c?.subarray(start, end);
  const statedCrc32c = batch.statedCrc32c?.subarray(start, end);
  return {
    ...slice,
    ...(payloadCrc32c && { payloadCrc32c }),
    ...(statedCrc32c && { statedCrc32c }),
  };
}

/** Writes a canonical header at `offset`. */
export function writeEntryHeader(
  target: Buffer,
  offset: number,
  header: { term: bigint; type: number; payloadBytes: number; index: bigint },
): void {
  target.writeBigInt64BE(header.term, offset);
  target.writeUInt32BE((header.type << 24) >>> 0, offset + 8);
  target.writeUInt32BE(header.payloadBytes, offset + 12);
  target.writeBigInt64BE(header.index, offset + 16);
}

/**
 * A batch made of entry objects; payloads are copied.
 * @throws `log.invalid-batch` when empty or not contiguous
 */
export function batchOf(entries: readonly LogEntry[]): EntryBatch {
  const first = entries[0];
  if (first === undefined) throw fail('log.invalid-batch', { reason: 'it is empty' });
  const offsets = new Uint32Array(entries.length + 1);
  let end = 0;
  for (const [i, entry] of entries.entries()) {
    if (entry.index !== first.index + BigInt(i)) {
      throw fail('log.invalid-batch', { reason: `index ${entry.index} does not follow` });
    }
    end += entryHeaderBytes + entry.payload.length;
    offsets[i + 1] = end;
  }
  const bytes = Buffer.allocUnsafe(end);
  for (const [i, entry] of entries.entries()) {
    const at = offsets[i] ?? 0;
    const payloadBytes = entry.payload.length;
    writeEntryHeader(bytes, at, { ...entry, payloadBytes });
    bytes.set(entry.payload, at + entryHeaderBytes);
  }
  return { firstIndex: first.index, count: entries.length, bytes, offsets };
}

/**
 * Reads a run of canonical entries back to back in `bytes`, checking lengths, indexes and zeros.
 * The batch shares `bytes`.
 * @throws `log.invalid-batch` naming the first byte that does not fit
 */
export function parseCanonicalRun(bytes: Buffer, firstIndex: bigint): EntryBatch {
  const offsets: number[] = [0];
  const expected = new IndexHalves(firstIndex);
  let at = 0;
  while (at < bytes.length) {
    if (bytes.length - at < entryHeaderBytes) throw malformed(at, 'a header is cut short');
    if ((bytes.readUInt32BE(at + 8) & 0xffffff) !== 0)
      throw malformed(at, 'reserved bytes are set');
    if (!expected.isAt(bytes, at + 16))
      throw malformed(at, `its index is not ${firstIndex + BigInt(offsets.length - 1)}`);
    at += entryHeaderBytes + bytes.readUInt32BE(at + 12);
    if (at > bytes.length) throw malformed(at, 'a payload is cut short');
    offsets.push(at);
    expected.increment();
  }
  return { firstIndex, count: offsets.length - 1, bytes, offsets: new Uint32Array(offsets) };
}

/** An index as two numbers: in a loop over entries a bigint for each costs an allocation. */
class IndexHalves {
  #high: number;
  #low: number;

  constructor(index: bigint) {
    this.#high = Number(BigInt.asUintN(32, index >> 32n));
    this.#low = Number(BigInt.asUintN(32, index));
  }

  isAt(bytes: Buffer, at: number): boolean {
    return bytes.readUInt32BE(at + 4) === this.#low && bytes.readUInt32BE(at) === this.#high;
  }

  increment(): void {
    this.#low += 1;
    if (this.#low <= 0xffffffff) return;
    this.#low = 0;
    this.#high += 1;
  }
}

function malformed(at: number, what: string): Error {
  return fail('log.invalid-batch', { reason: `${what} at byte ${at}` });
}

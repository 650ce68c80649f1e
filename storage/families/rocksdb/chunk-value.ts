/**
 * Values of chunks: a kind byte, then canonical entries back to back or the same in LZ4.
 *
 * An import compresses its chunks before it gives them over, or takes them as an image had them:
 * RocksDB makes and checks checksums of every byte several times, by tables, and writes it twice.
 */
import { canonicalBytes, type EntryBatch } from '../../entry-batch.ts';
import { isCompressible, pack, unpack } from '../../lz4.ts';
import { buffersSpent } from '../../spent-buffers.ts';

const ValueKind = { PLAIN: 0, LZ4: 1 } as const;

/** Larger chunks, of one entry each, stay as they are: compressing takes as much memory again. */
const maxPackedBytes = 1024 * 1024;

/** Holds the values of one write: at most 1 MiB of entries, one larger entry aside. */
const slotBytes = 1024 * 1024 + 64 * 1024;
/** Writes that are being made at a time. */
const maxIdle = 2;

export interface ChunkValue {
  /** Of the chunk. */
  readonly firstIndex: bigint;
  readonly value: Buffer;
}

/** @throws Error saying what is wrong */
export function contentOf(value: Buffer): Buffer {
  const content = value.subarray(1);
  if (value[0] === ValueKind.PLAIN) return content;
  if (value[0] !== ValueKind.LZ4) throw new Error(`it is of kind ${value[0]}`);
  return unpack(content, maxPackedBytes);
}

/** In memory of its own. */
export function plainValue(chunk: EntryBatch): ChunkValue {
  const memory = Buffer.allocUnsafeSlow(1 + canonicalBytes(chunk).length);
  buffersSpent(memory.length);
  const value = writeValue(memory, ValueKind.PLAIN, canonicalBytes(chunk));
  return { firstIndex: chunk.firstIndex, value };
}

function writeValue(target: Buffer, kind: number, content: Buffer): Buffer {
  target.writeUInt8(kind, 0);
  content.copy(target, 1);
  return target.subarray(0, 1 + content.length);
}

/** The values of one write of an import. */
export interface WrittenValues {
  readonly made: Promise<ChunkValue[]>;
  /** They have been handed over: their memory is used again. */
  readonly release: () => void;
}

/** Makes values in memory that is used again: fresh buffers would cost page faults. */
export class BulkValues {
  readonly #idle: Buffer[] = [];

  /** The chunks' bytes are copied before it returns. */
  of(chunks: readonly EntryBatch[]): WrittenValues {
    const lengths = chunks.map((chunk) => 1 + (chunk.packed ?? canonicalBytes(chunk)).length);
    const slot = this.#slot(lengths.reduce((sum, length) => sum + length, 0));
    let end = 0;
    const values = chunks.map((chunk) => {
      const kind = chunk.packed === undefined ? ValueKind.PLAIN : ValueKind.LZ4;
      const content = chunk.packed ?? canonicalBytes(chunk);
      const value = writeValue(slot.subarray(end), kind, content);
      end += value.length;
      return { firstIndex: chunk.firstIndex, value };
    });
    const release = () => {
      if (slot.length === slotBytes && this.#idle.length < maxIdle) this.#idle.push(slot);
    };
    return { made: packed(values), release };
  }

  #slot(bytes: number): Buffer {
    const idle = bytes <= slotBytes ? this.#idle.pop() : undefined;
    return idle ?? Buffer.allocUnsafeSlow(Math.max(bytes, slotBytes));
  }
}

/** Those that are plain, compressed; what one of them says holds for its neighbours. */
async function packed(values: ChunkValue[]): Promise<ChunkValue[]> {
  const tried = values[values.length >>> 1]?.value;
  if (tried?.[0] !== ValueKind.PLAIN || !isCompressible(tried.subarray(1))) return values;
  return Promise.all(values.map(packedValue));
}

async function packedValue(plain: ChunkValue): Promise<ChunkValue> {
  const { firstIndex, value } = plain;
  if (value.length > maxPackedBytes || value[0] !== ValueKind.PLAIN) return plain;
  const content = await pack(value.subarray(1));
  if (content === null) return plain;
  const memory = Buffer.allocUnsafeSlow(1 + content.length);
  return { firstIndex, value: writeValue(memory, ValueKind.LZ4, content) };
}

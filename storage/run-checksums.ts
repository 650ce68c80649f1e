/** Checksums of a run of canonical entries, of the whole and of its payloads, in one pass. */
import { crc32c } from '@node-rs/crc32';

import { combineCrc32c, shortCrc32c } from './crc32c.ts';
import { entryHeaderBytes } from './entry-batch.ts';

export interface RunChecksums {
  /** CRC-32C of each entry's payload. */
  readonly payloads: Uint32Array;
  /** CRC-32C of all the bytes. */
  readonly whole: number;
}

/**
 * The whole's checksum follows from those of headers and payloads: no byte of a payload is passed
 * over twice. Null where the bytes are not entries back to back by their lengths; nothing else of
 * the headers is looked at.
 */
export function runChecksums(bytes: Buffer): RunChecksums | null {
  const payloads: number[] = [];
  // Its views cost two thirds of a Buffer's.
  const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  let whole = 0;
  for (let at = 0; at < bytes.length;) {
    const start = at + entryHeaderBytes;
    if (start > bytes.length) return null;
    const end = start + bytes.readUInt32BE(at + 12);
    if (end > bytes.length) return null;
    const payload = crc32c(plain.subarray(start, end));
    payloads.push(payload);
    whole = shortCrc32c(bytes, at, entryHeaderBytes, whole);
    whole = combineCrc32c(whole, payload, end - start);
    at = end;
  }
  return { payloads: new Uint32Array(payloads), whole };
}

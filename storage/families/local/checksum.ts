/**
 * The two checksums of braft's log records: CRC-32C (Castagnoli, unmasked) and MurmurHash3 x86_32
 * with seed 0, both stored big-endian. The source is braft's log.cpp as described by
 * butil/crc32c and butil/third_party/murmurhash3; the code here is our own.
 */
import { crc32c } from '@node-rs/crc32';

/** Byte 9 of a record header. */
export const ChecksumKind = { MURMUR3: 0, CRC32C: 1 } as const;

export function isChecksumKind(kind: number): boolean {
  return kind === ChecksumKind.MURMUR3 || kind === ChecksumKind.CRC32C;
}

/** Checksum of `bytes`, as an unsigned 32-bit number. `kind` must be a known one. */
export function checksumOf(kind: number, bytes: Uint8Array): number {
  return kind === ChecksumKind.CRC32C ? crc32c(bytes) : murmur3(bytes);
}

const murmurC1 = 0xcc9e2d51;
const murmurC2 = 0x1b873593;

/**
 * MurmurHash3 x86_32, seed 0, blocks read little-endian (Austin Appleby's public-domain algorithm).
 */
export function murmur3(bytes: Uint8Array): number {
  const blocksEnd = bytes.length - (bytes.length % 4);
  let hash = 0;
  for (let at = 0; at < blocksEnd; at += 4) {
    hash ^= murmurMix(littleEndian(bytes, at, 4));
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
  }
  if (blocksEnd < bytes.length) {
    hash ^= murmurMix(littleEndian(bytes, blocksEnd, bytes.length - blocksEnd));
  }
  hash ^= bytes.length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function murmurMix(block: number): number {
  const mixed = Math.imul(block, murmurC1);
  return Math.imul((mixed << 15) | (mixed >>> 17), murmurC2);
}

function littleEndian(bytes: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let i = 0; i < count; i += 1) value |= (bytes[at + i] as number) << (8 * i);
  return value;
}

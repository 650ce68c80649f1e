/**
 * Arithmetic of CRC-32C (Castagnoli) beside the native calls.
 *
 * For a header of some 20 bytes a table walk in JavaScript is ten times cheaper than a native call.
 * CRCs of adjacent spans can be combined without their bytes, so that one native call over a
 * megabyte checks a thousand payloads against the checksums that their headers state.
 */
/** CRC-32C's polynomial, bits reflected. */
const polynomial = 0x82f63b78;

/** `tables[k * 256 + byte]`: the effect of `byte` followed by `k` zero bytes. */
const tables = makeTables();

function makeTables(): Uint32Array {
  const made = new Uint32Array(4 * 256);
  for (let byte = 0; byte < 256; byte += 1) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? polynomial : 0);
    made[byte] = crc;
  }
  for (let k = 256; k < made.length; k += 1) {
    const before = made[k - 256] ?? 0;
    made[k] = (before >>> 8) ^ (made[before & 0xff] ?? 0);
  }
  return made;
}

/**
 * CRC-32C of `[start, start + length)`, `length` a multiple of 4, continuing from `before` (the CRC
 * of what precedes; 0 at the start). For a few bytes only.
 */
export function shortCrc32c(bytes: Uint8Array, start: number, length: number, before = 0): number {
  const t = tables;
  let crc = ~before;
  for (let at = start; at < start + length; at += 4) {
    crc ^=
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    crc =
      (t[768 + (crc & 0xff)] as number) ^
      (t[512 + ((crc >>> 8) & 0xff)] as number) ^
      (t[256 + ((crc >>> 16) & 0xff)] as number) ^
      (t[crc >>> 24] as number);
  }
  return ~crc >>> 0;
}

/** Bits of a length whose shift has a table: lengths below 2^32. */
const lengthBits = 32;

/**
 * For each power of two of bytes, four tables of 256: the effect of shifting a CRC past that many
 * zero bytes.
 */
const shiftTables: (Uint32Array | undefined)[] = [];

function shiftTable(power: number): Uint32Array {
  const known = shiftTables[power];
  if (known !== undefined) return known;
  const made = new Uint32Array(4 * 256);
  for (let byte = 0; byte < 256; byte += 1) {
    for (let position = 0; position < 4; position += 1) {
      const crc = (byte << (8 * position)) >>> 0;
      made[position * 256 + byte] = power === 0 ? shiftOneByte(crc) : shiftTwice(power - 1, crc);
    }
  }
  shiftTables[power] = made;
  return made;
}

function shiftOneByte(crc: number): number {
  return ((crc >>> 8) ^ (tables[crc & 0xff] as number)) >>> 0;
}

function shiftTwice(power: number, crc: number): number {
  const table = shiftTable(power);
  return applyShift(table, applyShift(table, crc)) >>> 0;
}

function applyShift(table: Uint32Array, crc: number): number {
  return (
    (table[crc & 0xff] as number) ^
    (table[256 + ((crc >>> 8) & 0xff)] as number) ^
    (table[512 + ((crc >>> 16) & 0xff)] as number) ^
    (table[768 + (crc >>> 24)] as number)
  );
}

/** CRC-32C of A followed by B from the CRCs of both and B's length in bytes. */
export function combineCrc32c(crcOfA: number, crcOfB: number, bytesOfB: number): number {
  let crc = crcOfA;
  for (let power = 0, rest = bytesOfB; rest !== 0 && power < lengthBits; power += 1, rest >>>= 1) {
    if (rest & 1) crc = applyShift(shiftTable(power), crc);
  }
  return (crc ^ crcOfB) >>> 0;
}

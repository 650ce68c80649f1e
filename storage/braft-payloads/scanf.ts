/**
 * Numbers as C's scanf reads them: braft takes indexes from file names and peers from text so, and
 * what it reads decides, not what was meant.
 */

/** C's blanks, for a regular expression: `\s` has many more. */
export const cBlanks = String.raw`[ \t-\r]*`;

/** `%ld` of a sign and digits: clamped to 64 bits. */
export function scannedInt64(digits: string): bigint {
  const value = BigInt(digits.replace('+', ''));
  const max = 2n ** 63n - 1n;
  return value > max ? max : value < -max - 1n ? -max - 1n : value;
}

/** `%d`: the lower 32 bits of the same (glibc). */
export function scannedInt32(digits: string): number {
  return Number(BigInt.asIntN(32, scannedInt64(digits)));
}

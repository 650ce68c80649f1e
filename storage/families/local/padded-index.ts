/**
 * An index in the name of a file or directory: decimal, padded to 20 digits. braft reads names as
 * scanf does, by prefix and without looking at the padding, and then opens the canonical name.
 */
import { cBlanks, scannedInt64 } from '../../braft-payloads/scanf.ts';

/** printf's `%020ld`: of a negative number the sign comes before the zeros. */
export function paddedIndex(index: bigint): string {
  const [sign, digits] = index < 0n ? ['-', (-index).toString()] : ['', index.toString()];
  return sign + digits.padStart(20 - sign.length, '0');
}

/** scanf's `%020ld`: at most 20 characters, a sign among them, blanks before it. */
const scannedIndex = `${cBlanks}([+-]\\d{1,19}|\\d{1,20})`;

/** Reads names that begin with the text; `%` in it stands for an index. Null: they do not. */
export function indexReader(text: string): (name: string) => readonly bigint[] | null {
  const pattern = new RegExp(`^${text.replaceAll('%', scannedIndex)}`);
  return (name) => pattern.exec(name)?.slice(1).map(scannedInt64) ?? null;
}

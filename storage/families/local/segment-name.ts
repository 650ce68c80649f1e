/**
 * Names in a log directory. Indexes are decimal, padded to 20 digits. braft matches names as scanf
 * does, by prefix and without looking at the padding, and then opens the canonical name.
 */

export const logMetaName = 'log_meta';

function padded(index: bigint): string {
  return index.toString().padStart(20, '0');
}

export function closedSegmentName(first: bigint, last: bigint): string {
  return `log_${padded(first)}_${padded(last)}`;
}

export function openSegmentName(first: bigint): string {
  return `log_inprogress_${padded(first)}`;
}

/** What braft takes a name for. */
export type LogName =
  | { readonly kind: 'closed'; readonly first: bigint; readonly last: bigint }
  | { readonly kind: 'open'; readonly first: bigint }
  /** Deleted by braft when it opens the log. */
  | { readonly kind: 'doomed' }
  | { readonly kind: 'other' };

/** scanf's `%020ld` twice: a field of at most 20 characters, blanks before it allowed. */
const closedPattern = /^log_\s*([+-]?\d{1,20})_\s*([+-]?\d{1,20})/;
const openPattern = /^log_inprogress_\s*([+-]?\d{1,20})/;

export function parseLogName(name: string): LogName {
  if (name.endsWith('.tmp')) return { kind: 'doomed' };
  const closed = closedPattern.exec(name);
  if (closed?.[1] !== undefined && closed[2] !== undefined) {
    return { kind: 'closed', first: toIndex(closed[1]), last: toIndex(closed[2]) };
  }
  const open = openPattern.exec(name);
  if (open?.[1] !== undefined) return { kind: 'open', first: toIndex(open[1]) };
  return { kind: 'other' };
}

/** scanf's number, clamped to int64. */
function toIndex(digits: string): bigint {
  const value = BigInt(digits.replace(/^\+/, ''));
  const max = 2n ** 63n - 1n;
  return value > max ? max : value < -max - 1n ? -max - 1n : value;
}

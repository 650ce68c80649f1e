/** Names in a log directory. */
import { indexReader, paddedIndex } from './padded-index.ts';

export const logMetaName = 'log_meta';

export function closedSegmentName(first: bigint, last: bigint): string {
  return `log_${paddedIndex(first)}_${paddedIndex(last)}`;
}

export function openSegmentName(first: bigint): string {
  return `log_inprogress_${paddedIndex(first)}`;
}

/** What braft takes a name for. */
export type LogName =
  | { readonly kind: 'closed'; readonly first: bigint; readonly last: bigint }
  | { readonly kind: 'open'; readonly first: bigint }
  /** Deleted by braft when it opens the log. */
  | { readonly kind: 'doomed' }
  | { readonly kind: 'other' };

const readClosed = indexReader('log_%_%');
const readOpen = indexReader('log_inprogress_%');

export function parseLogName(name: string): LogName {
  if (name.endsWith('.tmp')) return { kind: 'doomed' };
  const [first, last] = readClosed(name) ?? [];
  if (first !== undefined && last !== undefined) return { kind: 'closed', first, last };
  const [opened] = readOpen(name) ?? [];
  return opened === undefined ? { kind: 'other' } : { kind: 'open', first: opened };
}

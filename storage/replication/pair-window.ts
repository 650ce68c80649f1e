/**
 * By how much the two sides of a pair may differ after a crash: at most one window of appended
 * entries (DUAL-4). Whatever is more is given to them in parts.
 */
import type { MetaUpdate, Mutation } from '../contracts.ts';
import { batchBytes, offsetAt, sliceBatch, type EntryBatch } from '../entry-batch.ts';
import { rawVoteKeys } from '../meta-rules.ts';

export interface PairWindow {
  readonly entries: number;
  /** Of canonical entries; one larger entry is a window of its own. */
  readonly bytes: number;
}

export const defaultWindow: PairWindow = { entries: 4096, bytes: 8 * 1024 * 1024 };

/**
 * The mutation as one part, or, where its entries exceed the window, as several in LOG-1's order:
 * everything before the entries with term and vote, the entries, and other metadata with the last.
 */
export function splitMutation(mutation: Mutation, window: PairWindow): Mutation[] {
  const { entries, meta, ...before } = mutation;
  const windows = entries === undefined ? [] : intoWindows(entries.batches, window);
  if (windows.length <= 1) return [mutation];
  const { early, late } = splitMeta(meta);
  const head = { ...before, ...(early && { meta: early }) };
  const parts: Mutation[] = windows.map((batches, i) => ({
    entries: { after: (batches[0]?.firstIndex ?? 0n) - 1n, batches },
    ...(late && i === windows.length - 1 && { meta: late }),
  }));
  return Object.keys(head).length === 0 ? parts : [head, ...parts];
}

/** Term, vote and the keys that a vote is derived from; and the rest. */
function splitMeta(meta: MetaUpdate | undefined): { early?: MetaUpdate; late?: MetaUpdate } {
  if (meta === undefined) return {};
  const { auxiliary, ...rest } = meta;
  const raw: readonly string[] = Object.values(rawVoteKeys);
  const keys = [...(auxiliary ?? [])];
  const earlyKeys = keys.filter(([key]) => raw.includes(key));
  const lateKeys = keys.filter(([key]) => !raw.includes(key));
  const early = { ...rest, ...(earlyKeys.length > 0 && { auxiliary: new Map(earlyKeys) }) };
  return {
    ...(Object.keys(early).length > 0 && { early }),
    ...(lateKeys.length > 0 && { late: { auxiliary: new Map(lateKeys) } }),
  };
}

function intoWindows(batches: readonly EntryBatch[], window: PairWindow): EntryBatch[][] {
  const windows: EntryBatch[][] = [];
  let entries = window.entries;
  let bytes = window.bytes;
  for (const batch of batches.flatMap((given) => withinWindow(given, window))) {
    const more = batchBytes(batch);
    if (entries + batch.count > window.entries || bytes + more > window.bytes) {
      windows.push([]);
      [entries, bytes] = [0, 0];
    }
    windows.at(-1)?.push(batch);
    entries += batch.count;
    bytes += more;
  }
  return windows;
}

/** The batch in slices that fit, without a copy. */
function withinWindow(batch: EntryBatch, window: PairWindow): EntryBatch[] {
  const slices: EntryBatch[] = [];
  for (let start = 0; start < batch.count;) {
    let end = start + 1;
    const from = offsetAt(batch, start);
    while (
      end < batch.count &&
      end - start < window.entries &&
      offsetAt(batch, end + 1) - from <= window.bytes
    ) {
      end += 1;
    }
    slices.push(sliceBatch(batch, start, end));
    start = end;
  }
  return slices;
}

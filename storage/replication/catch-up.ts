/**
 * Brings an instance that holds an earlier state of another one up to its present state: by entry
 * identity from the ends of both logs, so that only what is new is copied.
 *
 * The instance brought forward always holds a state that the other one has had: what was rewritten
 * while it was being read is not given to it. So a round that was interrupted is continued by the
 * next one.
 */
import type { Instance } from '../contracts.ts';
import { batchBytes } from '../entry-batch.ts';
import { lastCommon } from './log-match.ts';
import { metaUpdateTo } from './recover-pair.ts';
import { copySnapshot, haveSameSnapshot } from './settle-snapshots.ts';

export interface BringForwardOptions {
  /** `copy-if-other`: told apart by metadata and list of files. `require`: it must be the same. */
  readonly snapshot: 'copy' | 'copy-if-other' | 'require';
  /** Of entries to copy; null for any number. */
  readonly maxBytes: number | null;
  /** Ends it between two batches: the next round goes on. */
  readonly signal?: AbortSignal;
}

/** @returns false when the snapshot must be the same and is not, or too much is missing */
export async function bringForward(
  target: Instance,
  source: Instance,
  { snapshot, maxBytes, signal }: BringForwardOptions,
): Promise<boolean> {
  const wanted = source.state();
  if (snapshot === 'copy' || !(await haveSameSnapshot(target, source))) {
    if (snapshot === 'require') return false;
    await copySnapshot(source, target);
  }
  await target.apply({ truncate: { firstKept: wanted.firstIndex } });
  await cutToCommon(target, source);
  let bytes = 0;
  const next = target.state().lastIndex + 1n;
  for await (const batch of source.read(next, wanted.lastIndex)) {
    signal?.throwIfAborted();
    bytes += batchBytes(batch);
    if (maxBytes !== null && bytes > maxBytes) return false;
    await target.apply({ entries: { after: batch.firstIndex - 1n, batches: [batch] } });
  }
  const update = metaUpdateTo(target.state().meta, wanted.meta);
  if (update.meta !== undefined) await target.apply(update);
  return true;
}

/** Leaves of the target's log what the source holds too; an empty one where the source begins. */
async function cutToCommon(target: Instance, source: Instance): Promise<void> {
  const [has, wanted] = [target.state(), source.state()];
  if (has.firstIndex !== wanted.firstIndex) {
    // The source was reset to below where the target begins.
    await target.apply({ reset: wanted.firstIndex });
    return;
  }
  const to = has.lastIndex < wanted.lastIndex ? has.lastIndex : wanted.lastIndex;
  const common = await lastCommon(source, target, { from: wanted.firstIndex, to });
  if (has.lastIndex > common) await target.apply({ truncate: { lastKept: common } });
}

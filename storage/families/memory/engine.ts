/**
 * The memory family's state: a list of entry batches, metadata, and one snapshot, all replaced
 * together. Deterministic, and without any file system (FAM-8).
 */
import type { DurableState } from '../../contracts.ts';
import { canonicalBytes, offsetAt, type EntryBatch } from '../../entry-batch.ts';
import type { StoreEngine } from '../../managed-instance.ts';
import { initialMeta } from '../../meta-rules.ts';
import type { MutationPlan } from '../../mutation-plan.ts';
import { clipBatch, splitBatch } from '../../split-batch.ts';
import {
  foundInMemory,
  MemorySnapshotWriter,
  preparedContent,
  readMemorySnapshot,
  type MemorySnapshot,
  type TaggedSnapshots,
} from './snapshots.ts';

/**
 * What one instance holds; each change replaces it whole, so that readers keep what they began
 * with.
 */
export interface MemoryContent {
  readonly firstIndex: bigint;
  readonly lastIndex: bigint;
  readonly meta: DurableState['meta'];
  readonly snapshot: MemorySnapshot | null;
  /** In order, contiguous, together exactly `firstIndex..lastIndex`. */
  readonly batches: readonly EntryBatch[];
}

export const emptyContent: MemoryContent = {
  firstIndex: 1n,
  lastIndex: 0n,
  meta: initialMeta,
  snapshot: null,
  batches: [],
};

export function stateOf(content: MemoryContent): DurableState {
  const { firstIndex, lastIndex, meta, snapshot } = content;
  return { firstIndex, lastIndex, meta, snapshot: snapshot?.meta ?? null };
}

/** The content after `plan`; `content` itself stays as it is. */
export function applyPlan(content: MemoryContent, plan: MutationPlan): MemoryContent {
  const { firstIndex, lastIndex, meta } = plan.next;
  let kept = plan.resetTo === undefined ? content.batches : [];
  kept = clip(kept, plan.firstKept ?? firstIndex, plan.lastKept ?? lastIndex);
  return {
    firstIndex,
    lastIndex,
    meta,
    snapshot: plan.snapshot ? preparedContent(plan.snapshot) : content.snapshot,
    batches: [...kept, ...plan.append.map(ownCopy)],
  };
}

/** The part of `batches` within `from..to`, without a copy of bytes. */
function clip(batches: readonly EntryBatch[], from: bigint, to: bigint): EntryBatch[] {
  return batches.flatMap((batch) => clipBatch(batch, { from, to }) ?? []);
}

/** A batch that nobody else holds: the giver's buffer may be a slot that is used again. */
export function ownCopy(batch: EntryBatch): EntryBatch {
  const base = offsetAt(batch, 0);
  const offsets = batch.offsets.map((offset) => offset - base);
  const { firstIndex, count } = batch;
  return { firstIndex, count, bytes: Buffer.from(canonicalBytes(batch)), offsets };
}

/** An engine over the content that `cell` holds; writes go there, so that a reopen finds them. */
export function memoryEngine(
  cell: { content: MemoryContent },
  options: { instance: string; tagged: TaggedSnapshots; close: () => Promise<void> },
): StoreEngine {
  return {
    commit: async (plan) => {
      cell.content = applyPlan(cell.content, plan);
    },
    read: (from, to, { maxBytes }) => readClipped(clip(cell.content.batches, from, to), maxBytes),
    snapshots: {
      latest: async () => {
        const { snapshot } = cell.content;
        return snapshot && readMemorySnapshot(snapshot, options.instance);
      },
      begin: async (meta) => new MemorySnapshotWriter(meta, options.tagged),
      found: async () => foundInMemory(options.tagged),
    },
    close: options.close,
  };
}

async function* readClipped(
  batches: readonly EntryBatch[],
  maxBytes: number,
): AsyncGenerator<EntryBatch> {
  for (const batch of batches) yield* splitBatch(batch, maxBytes);
}

/**
 * Makes the two sides of a pair equal after a crash, each repaired in LOG-1's order: snapshot,
 * where the log begins, what is cut off, term and vote, entries. Both were opened for writing: what
 * they hold is durable. What is left then is what `Open` answers, and counts as acknowledged.
 *
 * Stopped at any point it can be run again: it only ever moves a side towards the end state.
 */
import type { MetaUpdate, RaftMeta } from '../contracts.ts';
import { sameMeta, sameVote } from '../meta-rules.ts';
import { entryTerm } from './entry-term.ts';
import type { PairWindow } from './pair-window.ts';
import {
  diverged,
  newerMeta,
  planLogRecovery,
  requireAcknowledged,
  type LogRecovery,
  type RecoverySides,
  type Side,
} from './plan-recovery.ts';
import { settleSnapshots } from './settle-snapshots.ts';
import type { Watermark } from './watermark.ts';

/**
 * Decides first, then changes; the watermark names nothing when it resolves.
 * @throws `pair.below-watermark`, `pair.diverged`: nothing has changed then
 */
export async function recoverPair(
  sides: RecoverySides,
  { watermark, window }: { readonly watermark: Watermark; readonly window: PairWindow },
): Promise<void> {
  const { named } = watermark.state;
  for (const side of [sides.primary, sides.mirror]) {
    await requireAcknowledged(side, watermark.state);
  }
  const log = await planLogRecovery(sides, { named: named?.log ?? null, window });
  const meta = newerMeta(sides);
  await settleSnapshots(sides, named?.snapshot ?? null);
  for (const side of ['primary', 'mirror'] as const) {
    await repair(sides, side, { log, meta });
  }
  await requireEqual(sides, log);
  await watermark.clearName();
}

async function repair(
  sides: RecoverySides,
  side: Side,
  { log, meta }: { log: LogRecovery; meta: RaftMeta },
): Promise<void> {
  const instance = sides[side];
  const { firstIndex, resets, winner, common } = log;
  if (resets === side) await instance.apply({ reset: firstIndex });
  await instance.apply({ truncate: { firstKept: firstIndex } });
  const update = metaUpdateTo(instance.state().meta, meta);
  const cuts = side !== winner && instance.state().lastIndex > common;
  await instance.apply({ ...(cuts && { truncate: { lastKept: common } }), ...update });
  const { lastIndex } = instance.state();
  for await (const batch of sides[winner].read(lastIndex + 1n, log.lastIndex)) {
    await instance.apply({ entries: { after: batch.firstIndex - 1n, batches: [batch] } });
  }
}

/** The update that makes `wanted` of `stored`; nothing when they are the same. */
export function metaUpdateTo(stored: RaftMeta, wanted: RaftMeta): { readonly meta?: MetaUpdate } {
  const auxiliary = new Map<string, Uint8Array | null>();
  for (const key of stored.auxiliary.keys()) {
    if (!wanted.auxiliary.has(key)) auxiliary.set(key, null);
  }
  for (const [key, value] of wanted.auxiliary) {
    const present = stored.auxiliary.get(key);
    if (present === undefined || Buffer.compare(present, value) !== 0) auxiliary.set(key, value);
  }
  const sameTermAndVote = stored.term === wanted.term && sameVote(stored.votedFor, wanted.votedFor);
  if (sameTermAndVote && auxiliary.size === 0) return {};
  const { term, votedFor } = wanted;
  return {
    meta: {
      ...(!sameTermAndVote && { term, votedFor }),
      ...(auxiliary.size > 0 && { auxiliary }),
    },
  };
}

async function requireEqual(sides: RecoverySides, log: LogRecovery): Promise<void> {
  const [p, m] = [sides.primary.state(), sides.mirror.state()];
  const terms = [
    await entryTerm(sides.primary, p.lastIndex),
    await entryTerm(sides.mirror, m.lastIndex),
  ];
  const sameLog =
    p.firstIndex === m.firstIndex &&
    p.lastIndex === log.lastIndex &&
    m.lastIndex === log.lastIndex &&
    terms[0] === terms[1];
  if (!sameLog) throw diverged(sides, 'their logs are not the same after recovery');
  if (!sameMeta(p.meta, m.meta))
    throw diverged(sides, 'their metadata is not the same after recovery');
}

/**
 * What brings the two sides of a pair together after a crash (DUAL-5, DUAL-6). It rolls forward:
 * the longer tail is copied to the other side, the newer metadata is saved to both, and a change
 * that the watermark names is completed where only one side shows it. Whatever else differs is
 * refused; nothing is undone then.
 *
 * Decided from the ends of the logs alone: by Raft's log matching, two logs that hold the same
 * entry hold the same entries before it.
 */
import { fail } from '../../core/errors.ts';
import type { Instance, RaftMeta } from '../contracts.ts';
import { sameVote, voteText } from '../meta-rules.ts';
import { entryTerm } from './entry-term.ts';
import { lastCommon } from './log-match.ts';
import type { PairWindow } from './pair-window.ts';
import type { NamedLogChange, WatermarkState } from './watermark.ts';

export type Side = 'primary' | 'mirror';

/** The log part of a recovery. */
export interface LogRecovery {
  /** Where both logs begin in the end. */
  readonly firstIndex: bigint;
  /** The side that is emptied at `firstIndex` first: a reset that only the other side shows. */
  readonly resets: Side | null;
  /** The side whose entries count from `common + 1` on. */
  readonly winner: Side;
  /** The last index at which both hold the same entry; `firstIndex - 1` when there is none. */
  readonly common: bigint;
  /** Last index in the end. */
  readonly lastIndex: bigint;
}

export interface RecoverySides {
  readonly primary: Instance;
  readonly mirror: Instance;
}

/**
 * @throws `pair.below-watermark` naming the side
 */
export async function requireAcknowledged(
  instance: Instance,
  watermark: WatermarkState,
): Promise<void> {
  const { index, term } = watermark;
  if (index === 0n && term === 0n) return;
  const { firstIndex, lastIndex } = instance.state();
  const below = (actual: string) =>
    fail('pair.below-watermark', { instance: instance.uris.log, index, term, actual });
  if (lastIndex < index) throw below(`it ends at index ${lastIndex}`);
  if (index < firstIndex) return;
  const actual = await entryTerm(instance, index);
  if (actual !== term) throw below(`the entry there has term ${actual}`);
}

/** @throws `pair.diverged` */
export async function planLogRecovery(
  { primary, mirror }: RecoverySides,
  options: { readonly named: NamedLogChange | null; readonly window: PairWindow },
): Promise<LogRecovery> {
  const { named, window } = options;
  const [p, m] = [primary.state(), mirror.state()];
  const resets =
    named?.kind === 'reset' ? sideToReset(named.to, [p.firstIndex, m.firstIndex]) : null;
  const higher = p.firstIndex > m.firstIndex ? p.firstIndex : m.firstIndex;
  const firstIndex = resets !== null && named?.kind === 'reset' ? named.to : higher;
  const lastOf = (side: Side, last: bigint) =>
    resets === side || last < firstIndex ? firstIndex - 1n : last;
  const ends = { primary: lastOf('primary', p.lastIndex), mirror: lastOf('mirror', m.lastIndex) };
  const to = ends.primary < ends.mirror ? ends.primary : ends.mirror;
  const common = await lastCommon(primary, mirror, { from: firstIndex, to });
  const winner = await decide({ primary, mirror }, { ends, common, named });
  const lastIndex = ends[winner];
  const copied = Number(lastIndex - common);
  if (copied > window.entries) {
    throw diverged({ primary, mirror }, `they differ by ${copied} entries, ${window.entries} may`);
  }
  return { firstIndex, resets, winner, common, lastIndex };
}

/** The side that does not show the named reset, while the other does. */
function sideToReset(to: bigint, [primary, mirror]: [bigint, bigint]): Side | null {
  if ((primary === to) === (mirror === to)) return null;
  return primary === to ? 'mirror' : 'primary';
}

interface Ends {
  readonly ends: Readonly<Record<Side, bigint>>;
  readonly common: bigint;
  readonly named: NamedLogChange | null;
}

/** Whose entries count behind the common ones. */
async function decide(sides: RecoverySides, at: Ends): Promise<Side> {
  const { ends, common, named } = at;
  for (const side of ['primary', 'mirror'] as const) {
    if (await showsTruncation(sides, side, at)) return side;
  }
  const longer = ends.primary >= ends.mirror ? 'primary' : 'mirror';
  if (common === ends.primary || common === ends.mirror) return longer;
  if (named?.kind === 'replace' && named.index === common + 1n) {
    for (const side of ['primary', 'mirror'] as const) {
      if ((await entryTerm(sides[side], named.index)) === named.term) return side;
    }
  }
  const [a, b] = await Promise.all([
    entryTerm(sides.primary, common + 1n),
    entryTerm(sides.mirror, common + 1n),
  ]);
  throw diverged(sides, `at index ${common + 1n} their terms are ${a} and ${b}`);
}

/**
 * Whether `side` ends where the named truncation cut, while the other still holds what goes. Up to
 * there both are the same: the name explains nothing below.
 */
async function showsTruncation(sides: RecoverySides, side: Side, at: Ends): Promise<boolean> {
  const { ends, common, named } = at;
  if (named === null || named.kind === 'reset') return false;
  const lastKept = named.kind === 'replace' ? named.index - 1n : named.lastKept;
  const other = side === 'primary' ? 'mirror' : 'primary';
  if (ends[side] !== lastKept || common !== lastKept || ends[other] <= lastKept) return false;
  if (named.kind === 'truncate') return true;
  return (await entryTerm(sides[other], named.index)) !== named.term;
}

/**
 * DUAL-6: the newer metadata, with its auxiliary; the primary's when neither is newer.
 * @throws `pair.diverged` for two votes in one term
 */
export function newerMeta(sides: RecoverySides): RaftMeta {
  const p = sides.primary.state().meta;
  const m = sides.mirror.state().meta;
  if (p.term !== m.term) return p.term > m.term ? p : m;
  if (sameVote(p.votedFor, m.votedFor)) return p;
  if (p.votedFor === null || m.votedFor === null) return p.votedFor === null ? m : p;
  const votes = `${voteText(p.votedFor)} and ${voteText(m.votedFor)}`;
  throw diverged(sides, `in term ${p.term} they voted for ${votes}`);
}

export function diverged({ primary, mirror }: RecoverySides, actual: string): Error {
  return fail('pair.diverged', { primary: primary.uris.log, mirror: mirror.uris.log, actual });
}

/** Opens a replica's store: a primary, with or without its mirror, as one instance. */
import type { FamilyLimits, Instance } from '../contracts.ts';
import { manageInstance, type ManagedInstance } from '../managed-instance.ts';
import { entryTerm } from './entry-term.ts';
import { PairEngine, type PairOptions } from './pair-engine.ts';
import { pairLimits } from './pair-limits.ts';
import { requireAcknowledged } from './plan-recovery.ts';
import { recoverPair } from './recover-pair.ts';
import { discardFound } from './settle-snapshots.ts';
import type { Watermark } from './watermark.ts';

export interface OpenPairOptions extends PairOptions {
  readonly limits: { readonly primary: FamilyLimits; readonly mirror: FamilyLimits | null };
  /** Whether a Raft library writes to it. */
  readonly isLive?: boolean;
}

/** A replica's store, and the sides that it stands on. */
export interface Pair {
  readonly instance: ManagedInstance;
  readonly engine: PairEngine;
}

/**
 * Recovers what a crash left, then serves. Both sides are open for writing, and are closed with the
 * pair; a refusal leaves them open.
 * @throws `pair.below-watermark`, `pair.diverged`
 */
export async function openPair(options: OpenPairOptions): Promise<Pair> {
  const { primary, mirror, watermark, window, limits } = options;
  if (mirror === null) {
    await requireAcknowledged(primary, watermark.state);
    await discardFound(primary, null);
    await watermark.clearName();
  } else {
    await recoverPair({ primary, mirror }, { watermark, window });
  }
  await claimAll(primary, watermark);
  const engine = new PairEngine(options);
  const instance = manageInstance(engine, {
    uris: primary.uris,
    family: primary.family,
    limits: limits.mirror === null ? limits.primary : pairLimits(limits.primary, limits.mirror),
    readOnly: false,
    isLive: options.isLive === true,
    state: primary.state(),
    warnings: warningsOf(primary, mirror),
    hazards: primary.hazards,
  });
  return { instance, engine };
}

/** What opening answers counts as acknowledged. */
async function claimAll(primary: Instance, watermark: Watermark): Promise<void> {
  const { lastIndex } = primary.state();
  const term = await entryTerm(primary, lastIndex);
  if (term !== null) watermark.acknowledged({ index: lastIndex, term });
}

function warningsOf(primary: Instance, mirror: Instance | null): readonly string[] {
  return mirror === null ? primary.warnings : [...primary.warnings, ...mirror.warnings];
}

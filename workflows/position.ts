/** Where a migration stands, as its record says. */
import type { BindingView } from '../activities/contract.ts';
import type { Phase, Position } from '../core/phases.ts';

/** Of a replica that no migration owns: as after one. */
export function positionOf({ phase, direction, mode = 'stopped' }: BindingView): Position {
  return { phase: phase ?? 'ended', direction, mode };
}

/** Whether a step that found a difference had compared a reversal's copy. */
export function isOfReversal(did: Phase): boolean {
  return did !== 'rollback-digest' && did !== 'forward-digest';
}

/** Where a migration stands, as its record says. */
import type { BindingView } from '../activities/contract.ts';
import type { Position } from '../core/phases.ts';

/** Of a replica that no migration owns: as after one. */
export function positionOf({ phase, direction, mode = 'stopped' }: BindingView): Position {
  return { phase: phase ?? 'ended', direction, mode };
}

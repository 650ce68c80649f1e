/** A migration's phase and state as search attributes. */
import { keepShown } from './attributes.ts';
import type { MigrationState } from './migration-state.ts';

/** Until it has ended. */
export function showMigration(state: MigrationState): Promise<void> {
  const values = () => ({
    QuorumshiftPhase: state.phase ?? state.stage,
    QuorumshiftState: state.waiting === null ? state.stage : `waiting-${state.waiting.kind}`,
  });
  return keepShown(state.request.searchAttributes, values, () => state.stage === 'ended');
}

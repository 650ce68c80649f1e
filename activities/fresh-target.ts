/** In a reversal a copy that turned out different is made again, into a place of its own. */
import type { BindingRecord, MigrationState } from '../schemas/binding-record.ts';

/**
 * The migration with its target at a new place; what was published at the one before stays aside.
 * The next copy points the fences there.
 */
export function withFreshTarget(record: BindingRecord, migration: MigrationState): MigrationState {
  const { lease, step, attempt } = record.token;
  const tag = `${migration.id}-again-${lease}_${step}_${attempt}`;
  const { target, targetTag } = migration;
  const why = 'it differed from what it was copied from';
  return {
    ...migration,
    target: { ...target, parkedTag: tag },
    targetTag: tag,
    proof: null,
    leftAside: [
      ...migration.leftAside,
      { kind: 'instance', uris: target.uris, tag: targetTag, why },
    ],
  };
}

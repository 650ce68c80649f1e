/** Rollback: puts the source back to its places, last of all. */
import { restoreInstance } from './fence.ts';
import type { StepBody } from './step-runner.ts';

export const unfence: StepBody = async (step) => {
  const { source, sourceTag } = step.guard.migration;
  // A rollback decided before the fence finds the source where it always was.
  const wasFenced = source.parkedTag !== null;
  await restoreInstance(step, { uris: source.uris, tag: sourceTag, wasFenced });
  return {
    outcome: 'done',
    info: { restored: source.uris.log },
    change: (record, migration) => ({
      ...record,
      primary: { ...record.primary, parkedTag: null },
      migration: { ...migration, source: { ...migration.source, parkedTag: null } },
    }),
  };
};

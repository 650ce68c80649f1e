/** Admits the published target to its places: from here a process may open it (CUT-7). */
import { unfenceInstance } from './fence.ts';
import type { StepBody } from './step-runner.ts';

export const admit: StepBody = async (step) => {
  const { target, targetTag } = step.guard.migration;
  await unfenceInstance(step, target.uris, targetTag);
  return {
    outcome: 'done',
    info: { admitted: target.uris.log },
    change: (record, migration) => ({
      ...record,
      primary: { ...record.primary, parkedTag: null },
      migration: { ...migration, target: { ...migration.target, parkedTag: null } },
    }),
  };
};

/** Admits the published target to its places: from here a process may open it (CUT-7). */
import { lookAt } from '../storage/binding/fence-file.ts';
import { writeStamp } from '../storage/binding/generation-stamp.ts';
import { ownPaths } from '../storage/binding/parking.ts';
import { parkedName } from '../storage/binding/path-fence.ts';
import { unfenceInstance } from './fence.ts';
import type { Step, StepBody } from './step-runner.ts';

export const admit: StepBody = async (step) => {
  const { target, targetTag } = step.guard.migration;
  await stampTarget(step);
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

/** The new primary carries its generation before any process can find it at its path (CUT-2). */
async function stampTarget(step: Step): Promise<void> {
  const { files, families } = step.context;
  const { record, migration } = step.guard;
  const [path] = ownPaths(families, migration.target.uris);
  if (path === undefined) return;
  await step.guard.effect(async () => {
    const isAdmitted = (await lookAt(files, path)).kind === 'directory';
    const directory = isAdmitted ? path : parkedName(path, migration.targetTag);
    const { replica, generation } = record;
    await writeStamp(files, directory, { replica, generation });
  });
}

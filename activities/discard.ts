/** Discards the target and every staging place of this migration; their fences stay (CUT-7). */
import { ownPaths } from '../storage/binding/parking.ts';
import { moveToTrash, parkedName, removeTrash, trashName } from '../storage/binding/path-fence.ts';
import type { InstanceUris } from '../storage/contracts.ts';
import type { Step, StepBody } from './step-runner.ts';

export const discard: StepBody = async (step) => {
  const { target, targetTag, leftAside } = step.guard.migration;
  const places = [{ uris: target.uris, tag: targetTag }, ...leftAside];
  for (const { uris, tag } of places) await discardPlace(step, uris, tag);
  return {
    outcome: 'done',
    info: { discarded: places.length },
    change: (record, migration) => ({ ...record, migration: { ...migration, leftAside: [] } }),
  };
};

async function discardPlace(step: Step, uris: InstanceUris, tag: string): Promise<void> {
  const { files, families } = step.context;
  for (const path of ownPaths(families, uris)) {
    const parked = parkedName(path, tag);
    const trash = trashName(parked, 'discarded');
    // What an attempt left that was killed between the two.
    await removeTrash(files, trash);
    await step.guard.effect(() => moveToTrash(files, { parked, trash }));
    await removeTrash(files, trash);
  }
}

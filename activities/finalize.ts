/**
 * Finalizes: the record has said `finalize` since this step began, so rollback is refused and the
 * target alone counts (CUT-8). Then the source is moved aside, or deleted where that was asked for.
 * The fences at its places stay: nothing may open there as empty.
 */
import { ownPaths } from '../storage/binding/parking.ts';
import { moveToTrash, parkedName, removeTrash, trashName } from '../storage/binding/path-fence.ts';
import { discardStaging } from './discard.ts';
import type { StepBody } from './step-runner.ts';

export const finalize: StepBody = async (step) => {
  const { files, families } = step.context;
  const { source, sourceTag, id, input } = step.guard.migration;
  const retired: string[] = [];
  for (const path of ownPaths(families, source.uris)) {
    const parked = parkedName(path, sourceTag);
    const aside = input.policy.deleteSource
      ? trashName(parked, id)
      : `${path}.quorumshift-retired-${id}`;
    await step.guard.effect(() => moveToTrash(files, { parked, trash: aside }));
    if (input.policy.deleteSource) await removeTrash(files, aside);
    else retired.push(aside);
  }
  const deleted = input.policy.deleteSource;
  return discardStaging(step, { source: deleted ? 'deleted' : retired.join(', ') });
};

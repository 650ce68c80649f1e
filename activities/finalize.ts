/**
 * Finalizes: the record has said `finalize` since this step began, so rollback is refused and the
 * target alone counts (CUT-8). Then the source is moved aside, or deleted where that was asked for.
 * The fences at its places stay, and say so: nothing may open there as empty.
 */
import { writeFence } from '../storage/binding/fence-file.ts';
import { ownPaths } from '../storage/binding/parking.ts';
import { moveToTrash, parkedName, removeTrash, trashName } from '../storage/binding/path-fence.ts';
import { readFence, type Fence } from '../storage/fence-text.ts';
import type { FileLayer } from '../storage/file-layer.ts';
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
    const now = input.policy.deleteSource
      ? ({ holds: 'deleted', parked } as const)
      : ({ holds: 'directory', parked: aside } as const);
    await step.guard.effect(async () => {
      await moveToTrash(files, { parked, trash: aside });
      await tellWhere(files, path, now);
    });
    if (input.policy.deleteSource) await removeTrash(files, aside);
    else retired.push(aside);
  }
  const deleted = input.policy.deleteSource;
  return discardStaging(step, { source: deleted ? 'deleted' : retired.join(', ') });
};

/** Makes the fence at `path` say what has become of the data; one of no data says so already. */
async function tellWhere(
  files: FileLayer,
  path: string,
  now: Pick<Fence, 'holds' | 'parked'>,
): Promise<void> {
  const fence = await readFence(files, path);
  if (fence?.holds === 'directory') await writeFence(files, path, { ...fence, ...now });
}

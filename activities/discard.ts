/** Discards the target and every staging place of this migration; their fences stay (CUT-7). */
import { removeDraft, removeFence } from '../storage/binding/fence-file.ts';
import { readFence } from '../storage/fence-text.ts';
import { ownPaths } from '../storage/binding/parking.ts';
import { moveToTrash, parkedName, removeTrash, trashName } from '../storage/binding/path-fence.ts';
import type { StepEnding } from '../storage/binding/step-guard.ts';
import type { InstanceUris } from '../storage/contracts.ts';
import type { Step, StepBody } from './step-runner.ts';

export const discard: StepBody = async (step) => {
  const { target, targetTag, results } = step.guard.migration;
  // Before publishing, what lies at a shared place is not this migration's.
  if (results.some(({ did }) => did === 'publish')) await withdraw(step, target.uris);
  await discardPlace(step, target.uris, targetTag);
  return discardStaging(step, { discarded: targetTag });
};

/** Discards the staging places that late attempts were left to; ends the step. */
export async function discardStaging(step: Step, info: StepEnding['info']): Promise<StepEnding> {
  const { leftAside } = step.guard.migration;
  for (const { kind, uris, tag } of leftAside) {
    if (kind === 'staging') await discardPlace(step, uris, tag);
  }
  return {
    outcome: 'done',
    info,
    change: (record, migration) => ({
      ...record,
      migration: { ...migration, leftAside: leftAside.filter(({ kind }) => kind !== 'staging') },
    }),
  };
}

/** Takes away what an instance wrote at places that it shares with others. */
export async function withdraw({ guard, context }: Step, uris: InstanceUris): Promise<void> {
  const { files, families } = context;
  await guard.effect(async () => families.familyOf(uris).withdraw?.(uris, { files }));
}

/** Removes a parked instance or staging place; done already is as good. */
export async function discardPlace(step: Step, uris: InstanceUris, tag: string): Promise<void> {
  const { files, families } = step.context;
  for (const path of ownPaths(families, uris)) {
    const parked = parkedName(path, tag);
    const trash = trashName(parked, 'discarded');
    // What an attempt left that was killed between the two.
    await removeTrash(files, trash);
    await step.guard.effect(async () => {
      await removeDraft(files, parked);
      // Prepared by a fencing that never ended, and not yet at its path.
      if ((await readFence(files, parked)) !== null) await removeFence(files, parked);
      else await moveToTrash(files, { parked, trash });
    });
    await removeTrash(files, trash);
  }
}

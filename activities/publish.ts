/** Makes the staged target an instance, under its parked name, in one atomic step (BOOT-4). */
import { hasCode } from '../core/errors.ts';
import { ownPaths, parkedUris } from '../storage/binding/parking.ts';
import { requireWhole } from '../storage/image/copy-state.ts';
import type { Step, StepBody } from './step-runner.ts';

export const publish: StepBody = async (step) => {
  const { files, families } = step.context;
  const { target, targetTag } = step.guard.migration;
  const uris = parkedUris(families, target.uris, targetTag);
  if (!(await isPublished(step, uris))) {
    await step.guard.effect(async () => {
      const staging = await families.stage(uris, { files });
      try {
        requireWhole(staging);
        await staging.publish();
      } finally {
        await staging.close();
      }
    });
  }
  return { outcome: 'done', info: { place: targetTag } };
};

async function isPublished(step: Step, uris: Parameters<typeof parkedUris>[1]): Promise<boolean> {
  const { files, families } = step.context;
  try {
    await (await families.open(uris, 'read-only', { files })).close();
    // Whoever published it may have been killed before the marker's removal was durable.
    for (const path of ownPaths(families, uris)) await files.syncDirectory(path);
    return true;
  } catch (error) {
    if (hasCode(error, 'instance.staging')) return false;
    throw error;
  }
}

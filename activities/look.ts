/**
 * After the second stop: whoever still holds files of a parked instance stops the migration
 * (CUT-7).
 */
import type { StepEnding } from '../storage/binding/step-guard.ts';
import { describeHolders } from '../storage/binding/open-files.ts';
import { ownPaths } from '../storage/binding/parking.ts';
import { parkedName } from '../storage/binding/path-fence.ts';
import type { InstanceUris } from '../storage/contracts.ts';
import type { Step, StepBody } from './step-runner.ts';

/** In characters: a result is a line for people, and stays in the workflow's history. */
const longestText = 2000;

export const lookAtSource: StepBody = (step) => {
  const { source, sourceTag } = step.guard.migration;
  return look(step, source.uris, sourceTag);
};

export const lookAtTarget: StepBody = (step) => {
  const { target, targetTag } = step.guard.migration;
  return look(step, target.uris, targetTag);
};

async function look(step: Step, uris: InstanceUris, tag: string): Promise<StepEnding> {
  const paths = ownPaths(step.context.families, uris).map((path) => parkedName(path, tag));
  const { mayNotLook } = step.context.config;
  const holders = await step.context.findHolders(paths, { mayNotLook });
  const outcome = holders.length === 0 ? 'done' : 'held';
  return { outcome, info: { holders: describeHolders(holders).slice(0, longestText), mayNotLook } };
}

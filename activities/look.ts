/** After the second stop: whoever still holds files of a parked instance stops the migration (CUT-7). */
import type { StepEnding } from '../storage/binding/ownership.ts';
import { findHolders } from '../storage/binding/open-files.ts';
import { ownPaths } from '../storage/binding/parking.ts';
import { parkedName } from '../storage/binding/path-fence.ts';
import type { InstanceUris } from '../storage/contracts.ts';
import type { Step, StepBody } from './step-runner.ts';

/** A result is a line for people and at most some kilobytes of history. */
const namedHolders = 5;

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
  const holders = await findHolders(paths);
  if (holders.length === 0) return { outcome: 'done', info: { holders: '' } };
  const named = holders
    .slice(0, namedHolders)
    .map((holder) => `pid ${holder.pid} (${holder.command}): ${holder.what} ${holder.path}`);
  return { outcome: 'held', info: { holders: named.join('; ').slice(0, 2000) } };
}

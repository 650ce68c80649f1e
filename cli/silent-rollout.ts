/** What is known of a rollout whose workflow does not answer, and what is safe meanwhile. */
import pc from 'picocolors';

import type { RunState } from '../client/workflow-calls.ts';

export function silentRollout(run: RunState, member: string): string[] {
  const silent = 'the workflow does not answer: is a control worker running?';
  if (run !== 'running') return [silent];
  return [
    silent,
    'Until it does no step begins; one that a machine has begun ends there. No write is lost.',
    `${pc.bold('safe:')} leave it as it is`,
    `${pc.bold('safe:')} quorumshift control  (or dev, as before): the rollout goes on where it was`,
    `${pc.bold('see:')}  quorumshift status --local ${member}  (on its machine)`,
    `${pc.bold('never:')} steer, stop or move members by hand beside the rollout`,
  ];
}

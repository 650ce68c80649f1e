/** Runs of rollouts, of a cluster or a fleet: whose they are, and what is said of them alike. */
import type { WorkflowExecutionDescription } from '@temporalio/client';

import { fail } from '../core/errors.ts';
import type { RunState, Subject } from './workflow-calls.ts';

/**
 * How a run stands to the rollout that is to be started: it is that one, open or closed, or a
 * closed one of another.
 * @throws `rollout.conflict` when its id was used with other content; `rollout.illegal-action` when
 *   another one is open
 */
export function rolloutStanding(
  run: WorkflowExecutionDescription,
  meant: Subject & {
    readonly rolloutId: string;
    /** Of what it follows: kept in the run's memo under this name. */
    readonly digest: { readonly name: string; readonly value: string };
  },
): 'open' | 'closed' | 'another' {
  const { rolloutId, digest, text } = meant;
  const isOpen = run.status.name === 'RUNNING';
  const present = run.memo?.['rolloutId'];
  if (present === rolloutId && run.memo?.[digest.name] !== digest.value) {
    const actual = 'it was started with another inventory or policy';
    throw fail('rollout.conflict', { rollout: rolloutId, actual });
  }
  if (present === rolloutId) return isOpen ? 'open' : 'closed';
  if (!isOpen) return 'another';
  throw fail('rollout.illegal-action', {
    action: `start ${rolloutId} of`,
    subject: text,
    required: 'no other rollout may run',
    actual: `${String(present)} does`,
  });
}

/** A wish found no open run. */
export function notRunningError(
  action: string,
  { text }: Subject,
  { run }: { readonly run: RunState },
): Error {
  const required = 'its rollout must be running';
  return fail('rollout.illegal-action', {
    action,
    subject: text,
    required,
    actual: `it is ${run}`,
  });
}

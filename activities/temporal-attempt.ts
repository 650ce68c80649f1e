/** The border between activities and Temporal: an attempt's context, and errors as failures. */
import { Context } from '@temporalio/activity';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';

import { QuorumshiftError } from '../core/errors.ts';
import type { Attempt } from './agent-context.ts';
import type { StepProgress } from './contract.ts';

/** Well below the heartbeat time-out of 30 s, so that one late beat is no lost attempt. */
const heartbeatMs = 5_000;

/** Makes an activity of `work`: its attempt beats by itself, its errors become failures. */
export function asActivity<Request, Answer>(
  work: (request: Request, attempt: Attempt) => Promise<Answer>,
): (request: Request) => Promise<Answer> {
  return async (request) => {
    const activity = Context.current();
    let last: StepProgress | undefined;
    const beat = setInterval(() => activity.heartbeat(last), heartbeatMs);
    try {
      return await work(request, {
        attempt: activity.info.attempt,
        taskToken: activity.info.taskToken,
        signal: activity.cancellationSignal,
        heartbeat: (progress) => {
          last = progress;
          activity.heartbeat(progress);
        },
      });
    } catch (error) {
      throw asFailure(error, activity.cancellationSignal);
    } finally {
      clearInterval(beat);
    }
  };
}

/** The one place that maps errors of the registry to Temporal failures. */
function asFailure(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted && !(error instanceof QuorumshiftError)) {
    return new CancelledFailure('the attempt was cancelled');
  }
  if (!(error instanceof QuorumshiftError)) return error;
  return ApplicationFailure.create({
    message: error.message,
    type: error.code,
    nonRetryable: !error.definition.retryable,
    details: [error.details],
    cause: error,
  });
}

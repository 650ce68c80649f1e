/** Retry policies and time-outs by kind of call. */
import type { ActivityOptions } from '@temporalio/workflow';

/** A missing poller is noticed after this; the workflow then waits, named, and schedules again. */
const scheduleToStartMs = 60_000;

/** At least 30 s (a busy event loop, a slow disk); a killed agent is noticed after this. */
const heartbeatTimeoutMs = 30_000;

/** Looks only, answers at once: tried once, the workflow asks again. */
export const askAgent: ActivityOptions = {
  startToCloseTimeout: 5_000,
  scheduleToCloseTimeout: 10_000,
  retry: { maximumAttempts: 1 },
};

/** Short steering of running work: idempotent by value, retried while the agent comes back. */
export const steerAgent: ActivityOptions = {
  startToCloseTimeout: 5_000,
  scheduleToStartTimeout: scheduleToStartMs,
  retry: { initialInterval: 500, maximumInterval: 5_000 },
};

const transient = { initialInterval: 1_000, backoffCoefficient: 2, maximumInterval: 30_000 };

/** Changes names and records: idempotent by token; ten tries, then a human is asked. */
export const changeOnHost: ActivityOptions = {
  startToCloseTimeout: 10 * 60_000,
  scheduleToStartTimeout: scheduleToStartMs,
  heartbeatTimeout: heartbeatTimeoutMs,
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
  retry: { ...transient, maximumAttempts: 10 },
};

/** Moves or reads bulk data: continues where a killed attempt was; bounded by a day. */
export const bulkOnHost: ActivityOptions = {
  ...changeOnHost,
  startToCloseTimeout: 24 * 60 * 60_000,
};

/**
 * Runs an operator's command, of at most an hour, once the one before has ended, of which the same
 * is true; and some minutes to end them. Three tries, then a human is asked.
 */
export const hookOnHost: ActivityOptions = {
  ...changeOnHost,
  startToCloseTimeout: 130 * 60_000,
  retry: { ...transient, maximumAttempts: 3 },
};

/** Reads from the control plane's own store: whoever gets no answer waits, named, and asks. */
export const askStore: ActivityOptions = {
  startToCloseTimeout: 10_000,
  scheduleToCloseTimeout: 30_000,
  retry: { initialInterval: 500, maximumAttempts: 5 },
};

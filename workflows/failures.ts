/**
 * What a failed activity means to a workflow. The agent sends its errors as codes of the registry.
 */
import { ActivityFailure, ApplicationFailure, TimeoutFailure } from '@temporalio/workflow';

import { errorRegistry } from '../core/error-registry.ts';
import { type ErrorCode } from '../core/errors.ts';

/** A newer attempt or another owner changed the replica. */
export function isSuperseded(error: unknown): boolean {
  return errorCode(error) === 'record.superseded';
}

/** No agent took the call, or the one that did is gone. */
export function isUnreachable(error: unknown): boolean {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  return cause instanceof TimeoutFailure;
}

/** The agent answers, the storage host beside it does not. */
export function isHostAway(error: unknown): boolean {
  return errorCode(error) === 'host.unreachable';
}

export function describeFailure(error: unknown): { reason: string; remedy: string } {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  const code = errorCode(error);
  const reason = cause instanceof Error ? cause.message : String(cause);
  return { reason, remedy: code ? errorRegistry[code].remedy : 'look at the agent’s log' };
}

function errorCode(error: unknown): ErrorCode | null {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  const type = cause instanceof ApplicationFailure ? cause.type : undefined;
  return type != null && isCode(type) ? type : null;
}

function isCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorRegistry, text);
}

/**
 * What a failed activity means to a workflow. The agent sends its errors as codes of the registry.
 */
import { ActivityFailure, ApplicationFailure, TimeoutFailure } from '@temporalio/workflow';

import type { Finding } from '../activities/contract.ts';
import { errorRegistry } from '../core/error-registry.ts';
import { type ErrorCode, messageOf } from '../core/errors.ts';

const hostAway = 'host.unreachable' satisfies ErrorCode;

/** A newer attempt or another owner changed the replica. */
export function isSuperseded(error: unknown): boolean {
  return errorCode(error) === 'record.superseded';
}

/** The window has ended that the cutover was approved for; nothing has been changed. */
export function isTooLate(error: unknown): boolean {
  return errorCode(error) === 'cutover.too-late';
}

/** No agent took the call, or the one that did is gone. */
export function isUnreachable(error: unknown): boolean {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  return cause instanceof TimeoutFailure;
}

/** The agent answers, the storage host beside it does not. */
export function isHostAway(error: unknown): boolean {
  return errorCode(error) === hostAway;
}

/** Nothing is wrong but that the storage host does not answer: it may be back in a moment. */
export function areOfHostAway(failed: readonly Finding[]): boolean {
  return failed.length > 0 && failed.every(({ code }) => code === hostAway);
}

/** Throws what ends the run, or that the storage host is away. */
export function requirePassed(replica: string, findings: readonly Finding[]): void {
  const failed = findings.filter(({ ok }) => !ok);
  if (failed.length === 0) return;
  const summary = failed.map(({ check, measured }) => `${check}: ${measured}`).join('; ');
  if (areOfHostAway(failed)) throw ApplicationFailure.nonRetryable(summary, hostAway);
  throw ApplicationFailure.nonRetryable(
    `Cannot start migration of ${replica}: every preflight check must pass: ${summary}`,
    'preflight.failed',
    failed,
  );
}

export function describeFailure(error: unknown): { reason: string; remedy: string } {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  const code = errorCode(error);
  const reason = messageOf(cause);
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

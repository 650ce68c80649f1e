/** Our errors as gRPC statuses: the status says what kind, trailing metadata says exactly which. */
import { Metadata, status, type ServiceError } from '@grpc/grpc-js';

import { errorRegistry } from '../core/error-registry.ts';
import { fail, QuorumshiftError, type ErrorCode } from '../core/errors.ts';
import { systemFailure } from '../storage/system-failure.ts';

/** Trailing metadata of a failed call: our code, and whether the same call may succeed later. */
export const codeKey = 'quorumshift-code';
export const retryableKey = 'quorumshift-retryable';
/** The error's details as JSON, in URI encoding: metadata is ASCII. */
const detailsKey = 'quorumshift-details';
/** Of a text in a status, in characters: one too large is never sent, and its call never ends. */
const maxTextLength = 1000;

const byCode: Partial<Record<ErrorCode, status>> = {
  'session.fenced': status.ABORTED,
  'session.unknown-replica': status.NOT_FOUND,
  'log.out-of-range': status.OUT_OF_RANGE,
  'snapshot.file-missing': status.NOT_FOUND,
  'data.corrupt': status.DATA_LOSS,
  'io.failed': status.INTERNAL,
};

const byHttpStatus: Readonly<Record<number, status>> = {
  400: status.INVALID_ARGUMENT,
  409: status.FAILED_PRECONDITION,
  422: status.DATA_LOSS,
  423: status.UNAVAILABLE,
  503: status.UNAVAILABLE,
};

/** A status for any error: a failed system call is `io.failed`, what is not ours INTERNAL. */
export function grpcError(error: unknown): ServiceError {
  const metadata = new Metadata();
  const cause = systemFailure(error) ?? (error instanceof Error ? error : new Error(String(error)));
  if (!(cause instanceof QuorumshiftError)) {
    const details = cut(cause.message);
    return Object.assign(cause, { code: status.INTERNAL, details, metadata });
  }
  const { code, definition } = cause;
  const message = cut(cause.message);
  metadata.set(codeKey, code);
  metadata.set(retryableKey, String(definition.retryable));
  const given = Object.entries(cause.details).map(([name, value]) => [name, cut(value)]);
  metadata.set(detailsKey, encodeURIComponent(JSON.stringify(Object.fromEntries(given))));
  const kind = byCode[code] ?? byHttpStatus[definition.httpStatus] ?? status.UNKNOWN;
  const details = `${message} (${definition.remedy})`;
  return Object.assign(new Error(message, { cause }), { code: kind, details, metadata });
}

function cut(text: string): string {
  return text.length > maxTextLength ? `${text.slice(0, maxTextLength)}…` : text;
}

/** The error that a failed call was ended with, as the host made it; or that no host answers. */
export function fromGrpcError(error: unknown, socket: string): unknown {
  if (!(error instanceof Error) || !('metadata' in error)) return error;
  const { metadata, details } = error as ServiceError;
  const code = String(metadata.get(codeKey)[0] ?? '');
  if (isErrorCode(code)) {
    const given = String(metadata.get(detailsKey)[0] ?? '%7B%7D');
    const named = JSON.parse(decodeURIComponent(given)) as Record<string, string>;
    return new QuorumshiftError(code, named, { cause: error });
  }
  return fail('host.unreachable', { socket, reason: details }, { cause: error });
}

function isErrorCode(code: string): code is ErrorCode {
  return code in errorRegistry;
}

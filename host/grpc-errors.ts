/** Our errors as gRPC statuses: the status says what kind, trailing metadata says exactly which. */
import { Metadata, status, type ServiceError } from '@grpc/grpc-js';

import { QuorumshiftError, type ErrorCode } from '../core/errors.ts';
import { systemFailure } from '../storage/system-failure.ts';

/** Trailing metadata of a failed call: our code, and whether the same call may succeed later. */
export const codeKey = 'quorumshift-code';
export const retryableKey = 'quorumshift-retryable';

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

/** A status for any error; a failed system call is `io.failed`, another that is not ours INTERNAL. */
export function grpcError(error: unknown): ServiceError {
  const metadata = new Metadata();
  const cause = systemFailure(error) ?? (error instanceof Error ? error : new Error(String(error)));
  if (!(cause instanceof QuorumshiftError)) {
    return Object.assign(cause, { code: status.INTERNAL, details: cause.message, metadata });
  }
  const { code, definition, message } = cause;
  metadata.set(codeKey, code);
  metadata.set(retryableKey, String(definition.retryable));
  const kind = byCode[code] ?? byHttpStatus[definition.httpStatus] ?? status.UNKNOWN;
  const details = `${message} (${definition.remedy})`;
  return Object.assign(new Error(message, { cause }), { code: kind, details, metadata });
}

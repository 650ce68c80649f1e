/** The one place where what was thrown becomes what a client is told (RFC 9457). */
import { STATUS_CODES } from 'node:http';

import { status } from '@grpc/grpc-js';
import { isGrpcServiceError } from '@temporalio/client';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';

import { fail, QuorumshiftError } from '../core/errors.ts';
import type { FieldProblem, Problem } from '../schemas/http/problem.ts';
import { systemFailure } from '../storage/system-failure.ts';
import { temporalFailure } from '../worker/temporal-connection.ts';
import { limits } from './limits.ts';

export const problemType = 'application/problem+json';

/** A defect of ours: what it was is in the log alone. */
const unexpected = {
  code: 'unexpected',
  detail: 'Cannot answer request: the server has met a defect of its own',
  remedy: 'Report it, with what the log says under the name in "instance".',
} as const;

/** A request that no schema takes: made by the validator, mapped below. */
export class UnfitRequest extends Error {
  readonly issues: readonly z.core.$ZodIssue[];

  constructor(issues: readonly z.core.$ZodIssue[]) {
    super('the request does not fit its schema');
    this.issues = issues;
  }
}

/** Fields of a body that fits its schema and is wrong all the same. */
export class UnfitFields extends Error {
  readonly errors: readonly FieldProblem[];
  /** Absent: `request.invalid`. */
  override readonly cause: QuorumshiftError;

  constructor(errors: readonly FieldProblem[], cause?: QuorumshiftError) {
    const reason = errors.map(({ pointer, detail }) => `${pointer} ${detail}`).join('; ');
    super(reason);
    this.errors = errors;
    this.cause = cause ?? fail('request.invalid', { reason });
  }
}

/** Of whatever was thrown. `address` is Temporal's, for what it refused. */
export function problemOf(
  thrown: unknown,
  context: { instance: string; address: string },
): Problem {
  const { instance, address } = context;
  if (thrown instanceof UnfitFields) {
    return { ...known(thrown.cause, instance), errors: [...thrown.errors] };
  }
  const error = systemFailure(thrown) ?? ofTemporal(thrown, address);
  if (error instanceof QuorumshiftError) return known(error, instance);
  return {
    type: 'about:blank',
    title: STATUS_CODES[500] ?? '',
    status: 500,
    ...unexpected,
    retryable: false,
    instance,
    details: {},
  };
}

function known(error: QuorumshiftError, instance: string): Problem {
  const { code, message, definition, details } = error;
  return {
    type: `urn:quorumshift:error:${code}`,
    title: code.replaceAll(/[.-]/g, ' '),
    status: definition.httpStatus,
    detail: message,
    code,
    remedy: definition.remedy,
    retryable: definition.retryable,
    instance,
    details,
  };
}

/** Only a cursor is handed to Temporal as it came. */
function ofTemporal(thrown: unknown, address: string): unknown {
  if (isGrpcServiceError(thrown) && thrown.code === status.INVALID_ARGUMENT) {
    return fail('request.invalid', { reason: `Temporal refuses it: ${thrown.details}` });
  }
  return temporalFailure({ address, namespace: '' }, thrown);
}

type FrameworkError = Pick<FastifyError, 'code' | 'statusCode' | 'message' | 'validationContext'>;

/** What the HTTP framework, its parsers and the schemas refuse. */
export function requestProblem(
  error: FrameworkError & Partial<Pick<FastifyError, 'cause'>>,
  request: FastifyRequest,
): { readonly error: unknown; readonly errors?: FieldProblem[] } {
  if (error instanceof UnfitRequest) {
    const errors = fieldProblems(error.issues, placeOf(error.validationContext));
    const reason = errors.map(({ pointer, detail }) => `${pointer} ${detail}`).join('; ');
    return { error: fail('request.invalid', { reason }), errors };
  }
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE': {
      const bytes = request.routeOptions.bodyLimit ?? limits.bodyBytes;
      return { error: fail('request.body-too-large', { bytes }) };
    }
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return {
        error: fail('request.media-type', {
          actual: request.headers['content-type'] ?? 'of no stated type',
        }),
      };
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return { error: fail('request.url-too-long', { bytes: limits.urlBytes }) };
    default:
      break;
  }
  const { statusCode } = error;
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return { error: fail('request.invalid', { reason: error.message }) };
  }
  return { error };
}

function placeOf(context: string | undefined): FieldProblem['in'] {
  if (context === 'params') return 'path';
  if (context === 'querystring') return 'query';
  return context === 'headers' ? 'header' : 'body';
}

/** Of a union, what was wrong with the alternative that fitted furthest. */
export function fieldProblems(
  issues: readonly z.core.$ZodIssue[],
  place: FieldProblem['in'],
  above: readonly PropertyKey[] = [],
): FieldProblem[] {
  return issues.flatMap((issue) => {
    const path = [...above, ...issue.path];
    if (issue.code === 'unrecognized_keys') {
      const detail = 'is not known';
      return issue.keys.map((key) => ({ in: place, pointer: pointerOf([...path, key]), detail }));
    }
    if (issue.code === 'invalid_union' && issue.errors.length > 0) {
      const ways = issue.errors.map((errors) => fieldProblems(errors, place, path));
      const deeper = ways.find((way) => way.every(({ pointer }) => pointer !== pointerOf(path)));
      return deeper ?? ways[0] ?? [];
    }
    return [{ in: place, pointer: pointerOf(path), detail: issue.message }];
  });
}

/** RFC 6901. */
export function pointerOf(path: readonly PropertyKey[]): string {
  return path
    .map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('');
}

export function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  if (problem.status === 401) void reply.header('www-authenticate', 'Bearer');
  return reply
    .code(problem.status)
    .type(problemType)
    .serializer((value: unknown) => JSON.stringify(value))
    .send(problem);
}

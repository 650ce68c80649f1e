/** What every workflow does with the operations that it is asked for. */
import { ApplicationFailure } from '@temporalio/workflow';

import { fail, type ErrorCode, type ErrorDetails } from '../core/errors.ts';
import type { Operation } from './messages.ts';

/** Far more than an operator issues in one run. */
const remembered = 500;

/** Ids of operations: each counts once, in every run that hands on to the next. */
export class SeenOperations {
  #ids: readonly string[];

  /** @param carried by the run before */
  constructor(carried: readonly string[] = []) {
    this.#ids = carried;
  }

  /** To be carried on. */
  get ids(): readonly string[] {
    return this.#ids;
  }

  /** Notes it; false when it has been seen before. */
  isNew({ operationId }: Operation): boolean {
    if (this.#ids.includes(operationId)) return false;
    this.#ids = [...this.#ids, operationId].slice(-remembered);
    return true;
  }
}

/** Refuses an update: the caller sees code, message and remedy. */
export function refuse<Code extends ErrorCode>(code: Code, details: ErrorDetails<Code>): never {
  const error = fail(code, details);
  throw ApplicationFailure.nonRetryable(error.message, code, error.details);
}

/**
 * What all clients have in common: they find a workflow by its id, ask it, and tell it things, each
 * within a time after which they say that nobody answers.
 */
import { randomUUID } from 'node:crypto';

import {
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  type Client,
  type WorkflowExecutionDescription,
} from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';

import { errorRegistry } from '../core/error-registry.ts';
import { fail, QuorumshiftError, type ErrorCode, messageOf } from '../core/errors.ts';
import type { Accepted } from '../workflows/messages.ts';

/** A workflow that does not answer within this is reported as such, with what else is known. */
const queryTimeoutMs = 2_000;

/**
 * A wish, or a plan, that no control worker has taken by then is given up. Workers that come back
 * replay first; a sticky queue adds a second.
 */
export const controlTimeoutMs = 15_000;

export interface ClientOptions {
  readonly client: Client;
  /** Recorded with every operation; unverified. */
  readonly identity: string;
}

/** An operation is counted once by its id; give one to repeat a call safely. */
export interface OperationOptions {
  readonly operationId?: string;
}

export type RunState = 'running' | 'completed' | 'failed' | 'cancelled' | 'terminated' | 'other';

/** A workflow, and how errors name it. */
export interface Subject {
  readonly workflowId: string;
  /** `kv/n1`, `cluster kv`. */
  readonly text: string;
}

export class WorkflowCalls {
  readonly client: Client;
  readonly identity: string;

  constructor({ client, identity }: ClientOptions) {
    this.client = client;
    this.identity = identity;
  }

  /** Null where the server knows no run under the id. */
  async describe(workflowId: string): Promise<WorkflowExecutionDescription | null> {
    try {
      return await this.client.workflow.getHandle(workflowId).describe();
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return null;
      throw error;
    }
  }

  /**
   * Starts a workflow, unless the same has been started: then false.
   * @param isSame of a run, open or closed; throws where it forbids this start
   */
  async startOnce(
    workflowId: string,
    {
      isSame,
      start,
    }: {
      readonly isSame: (run: WorkflowExecutionDescription) => Promise<boolean>;
      readonly start: () => Promise<unknown>;
    },
  ): Promise<boolean> {
    const earlier = await this.describe(workflowId);
    if (earlier !== null && (await isSame(earlier))) return false;
    try {
      await start();
      return true;
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      // Lost a race against another start: it is the same one, or a conflict.
      const running = await this.describe(workflowId);
      if (running !== null && (await isSame(running))) return false;
      throw error;
    }
  }

  /** Null when nobody answers: no worker, or the workflow failed before it could. */
  async query<T>(workflowId: string, name: string): Promise<T | null> {
    const handle = this.client.workflow.getHandle(workflowId);
    try {
      return await this.client.withDeadline(Date.now() + queryTimeoutMs, () =>
        handle.query<T>(name),
      );
    } catch (error) {
      if (error instanceof Error) return null;
      throw error;
    }
  }

  /** Why the run failed; null when it did not. */
  async failureOf(workflowId: string): Promise<string | null> {
    try {
      await this.client.workflow.getHandle(workflowId).result();
      return null;
    } catch (error) {
      // Around what the agent said lie the failures of the run and of the activity.
      let cause = error;
      while (cause instanceof Error && cause.cause instanceof Error) cause = cause.cause;
      return messageOf(cause);
    }
  }

  /**
   * Records a wish.
   * @throws `control.unreachable`, and what the workflow refuses it with; `notRunning` otherwise
   */
  async update(
    { workflowId, text }: Subject,
    request: {
      readonly name: string;
      readonly options: OperationOptions | undefined;
      readonly extra: Readonly<Record<string, unknown>>;
      /** What is thrown where no run is open. */
      readonly notRunning: () => Promise<Error>;
    },
  ): Promise<Accepted> {
    const { name, options, extra, notRunning } = request;
    const operationId = options?.operationId ?? randomUUID();
    const argument = { operationId, by: this.identity, ...extra };
    try {
      const handle = this.client.workflow.getHandle(workflowId);
      return await this.client.withDeadline(Date.now() + controlTimeoutMs, () =>
        handle.executeUpdate<Accepted, [typeof argument]>(name, {
          args: [argument],
          updateId: operationId,
        }),
      );
    } catch (error) {
      if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) {
        throw controlUnreachable(name, text, error);
      }
      if (error instanceof WorkflowNotFoundError) throw await notRunning();
      throw updateError(error);
    }
  }
}

export function controlUnreachable(action: string, subject: string, cause?: unknown): Error {
  const details = { action, replica: subject, waitedMs: controlTimeoutMs };
  return fail('control.unreachable', details, { cause });
}

/** What the workflow said of an update that it refused. */
function updateError(error: unknown): unknown {
  const cause = error instanceof WorkflowUpdateFailedError ? error.cause : undefined;
  if (!(cause instanceof ApplicationFailure) || !isCode(cause.type)) return error;
  const details: unknown = cause.details?.[0];
  return new QuorumshiftError(cause.type, textsOf(details), { cause: error });
}

function isCode(text: string | null | undefined): text is ErrorCode {
  return typeof text === 'string' && Object.hasOwn(errorRegistry, text);
}

function textsOf(details: unknown): Record<string, string> {
  if (typeof details !== 'object' || details === null) return {};
  return Object.fromEntries(Object.entries(details).map(([key, value]) => [key, String(value)]));
}

export function runState(name: string): RunState {
  const states: Record<string, RunState> = {
    RUNNING: 'running',
    CONTINUED_AS_NEW: 'running',
    COMPLETED: 'completed',
    FAILED: 'failed',
    TIMED_OUT: 'failed',
    CANCELLED: 'cancelled',
    TERMINATED: 'terminated',
  };
  return states[name] ?? 'other';
}

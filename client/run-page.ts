/** Pages of the workflows that Temporal knows: newest first, as its visibility has them. */
import { isGrpcServiceError, type Client } from '@temporalio/client';
import { rethrowKnownErrorTypes } from '@temporalio/client/lib/helpers.js';
import { defaultPayloadConverter, type Payload } from '@temporalio/common';
import { optionalTsToDate } from '@temporalio/common/lib/time.js';

import type { RunState } from './workflow-calls.ts';

export interface RunPageRequest {
  readonly limit: number;
  /** Token of the page before, from the same filters; null: the first. */
  readonly cursor: Uint8Array | null;
  /** What the workflow id begins with, after its kind. */
  readonly under?: string;
  readonly state?: Exclude<RunState, 'other'>;
}

export interface Run {
  readonly workflowId: string;
  readonly memo: (name: string) => string | null;
  readonly run: RunState;
  readonly startedAt: string;
  readonly closedAt: string | null;
}

export interface Page<Item> {
  readonly items: readonly Item[];
  readonly next: Uint8Array | null;
}

const statusNames: Readonly<Record<Exclude<RunState, 'other'>, readonly string[]>> = {
  running: ['Running'],
  completed: ['Completed'],
  failed: ['Failed', 'TimedOut'],
  cancelled: ['Canceled'],
  terminated: ['Terminated'],
};

/** Of one type; every workflow id of it begins with `prefix`. */
export async function runPage(
  client: Client,
  request: RunPageRequest & { readonly type: string; readonly prefix: string },
): Promise<Page<Run>> {
  const asked = client.workflowService.listWorkflowExecutions({
    namespace: client.options.namespace,
    pageSize: request.limit,
    query: queryOf(request),
    ...(request.cursor !== null && { nextPageToken: request.cursor }),
  });
  const { executions, nextPageToken } = await asked.catch((error: unknown) => {
    // A namespace that is not there, as the client's other calls say it.
    if (isGrpcServiceError(error)) rethrowKnownErrorTypes(error);
    throw error;
  });
  const items = (executions ?? []).map(({ execution, memo, status, startTime, closeTime }) => ({
    workflowId: execution?.workflowId ?? '',
    memo: (name: string) => memoText(memo?.fields?.[name]),
    run: runStateOf(status),
    startedAt: optionalTsToDate(startTime)?.toISOString() ?? '',
    closedAt: optionalTsToDate(closeTime)?.toISOString() ?? null,
  }));
  const more = nextPageToken !== null && nextPageToken !== undefined && nextPageToken.length > 0;
  return { items, next: more ? nextPageToken : null };
}

/** The newest `limit`, page by page. */
export async function allOf<Item>(
  limit: number,
  pageOf: (request: RunPageRequest) => Promise<Page<Item>>,
): Promise<Item[]> {
  const found: Item[] = [];
  let cursor: Uint8Array | null = null;
  do {
    const page: Page<Item> = await pageOf({ limit: limit - found.length, cursor });
    found.push(...page.items);
    cursor = page.next;
  } while (cursor !== null && found.length < limit);
  return found;
}

/** Names hold no quote, nor anything that a query would read otherwise (core/ids.ts). */
function queryOf(request: Parameters<typeof runPage>[1]): string {
  const { type, prefix, under, state } = request;
  const terms = [`WorkflowType = '${type}'`, `ExecutionStatus != 'ContinuedAsNew'`];
  if (under !== undefined) terms.push(`WorkflowId STARTS_WITH '${prefix}${under}'`);
  if (state !== undefined) {
    const names = statusNames[state].map((name) => `'${name}'`);
    terms.push(`ExecutionStatus IN (${names.join(', ')})`);
  }
  return terms.join(' AND ');
}

function memoText(payload: Payload | null | undefined): string | null {
  if (payload === null || payload === undefined) return null;
  const value: unknown = defaultPayloadConverter.fromPayload(payload);
  return typeof value === 'string' ? value : null;
}

/** Of `temporal.api.enums.v1.WorkflowExecutionStatus`, by number. */
function runStateOf(status: unknown): RunState {
  const states: readonly RunState[] = [
    'other',
    'running',
    'completed',
    'failed',
    'cancelled',
    'terminated',
    'running',
    'failed',
  ];
  return states[Number(status)] ?? 'other';
}

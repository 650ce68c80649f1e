/** Runs a plan: a workflow that looks and changes nothing. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

import { WorkflowFailedError, type Client, type WorkflowHandle } from '@temporalio/client';

import { fail, hasCode, QuorumshiftError, messageOf } from '../core/errors.ts';
import { controlTaskQueue } from '../core/ids.ts';
import { controlTimeoutMs, controlUnreachable, type Subject } from './workflow-calls.ts';

/** A preflight reads the whole log once: as long as a copy of it may take. */
const planTimeoutMs = 24 * 60 * 60_000;

/** Started, and its first task scheduled. */
const untakenEvents = 2;

/** As its handle sees it. */
type Answering<Plan extends (input: never) => Promise<unknown>> = () => Promise<
  Awaited<ReturnType<Plan>>
>;

/** @throws `agent.unreachable`, `control.unreachable` */
export async function runPlan<Plan extends (input: never) => Promise<unknown>>(
  client: Client,
  request: {
    readonly workflow: string;
    readonly input: Parameters<Plan>[0];
    readonly subject: Subject;
    /** Whose machines are asked. */
    readonly host: string;
  },
): Promise<Awaited<ReturnType<Plan>>> {
  const { workflow, input, subject, host } = request;
  const handle: WorkflowHandle<Answering<Plan>> = await client.workflow.start(workflow, {
    workflowId: `plan/${subject.workflowId}/${randomUUID()}`,
    taskQueue: controlTaskQueue,
    args: [input],
    workflowExecutionTimeout: planTimeoutMs,
  });
  const given = new AbortController();
  try {
    return await Promise.race([handle.result(), untaken(handle, subject, given.signal)]);
  } catch (error) {
    // Ended only now: its end would be the answer otherwise.
    if (hasCode(error, 'control.unreachable')) await handle.terminate('no control worker');
    if (error instanceof QuorumshiftError) throw error;
    const cause = error instanceof WorkflowFailedError ? error.cause : error;
    const reason = messageOf(cause);
    throw fail('agent.unreachable', { host, reason }, { cause: error });
  } finally {
    given.abort();
  }
}

/** Rejects once it is clear that no control worker takes the plan. */
async function untaken(
  handle: Pick<WorkflowHandle, 'describe'>,
  { text }: Subject,
  given: AbortSignal,
): Promise<never> {
  const waited = await delay(controlTimeoutMs, true, { signal: given }).catch(() => false);
  if (waited && (await handle.describe()).historyLength <= untakenEvents) {
    throw controlUnreachable('plan', text);
  }
  return new Promise(() => {});
}

/**
 * A group's lease: one voter at risk at a time (I14). Whoever asks is answered by signal, now and
 * whenever the answer changes. Nothing rests on this run living on: whoever asks starts it again
 * where it has ended, and one that was forgotten with a run that was terminated is asked for anew.
 */
import {
  allHandlersFinished,
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';

import { contractVersion, replicaText } from '../core/ids.ts';
import { isHalfWay } from '../core/phases.ts';
import { agentCalls } from './agent-calls.ts';
import {
  acquireLeaseSignal,
  leaseAnswerSignal,
  leaseStatusQuery,
  releaseLeaseSignal,
  type GroupLeaseRequest,
  type LeaseRequest,
  type LeaseStatus,
} from './rollout-messages.ts';

/** Whoever holds a lease says so again and again: a run that was lost is known anew by that. */
export const heldAgainMs = 15 * 60_000;

/** By then all have said it, one that could not at once included. */
const unsureMs = 2 * heldAgainMs;

/** Nobody holds it or waits: it ends, and is started again by the next who asks. */
const idleMs = 60_000;

/** A holder is looked at when another asks, then again after this, doubled each time. */
const firstLookMs = 15_000;

/** A holder gets a signal with each look: over a day of copying, a hundred. */
const longestLookMs = 15 * 60_000;

type Holder = LeaseStatus['holders'][number];

export async function groupLease(request: GroupLeaseRequest): Promise<void> {
  await new GroupLease(request).run();
}

class GroupLease {
  readonly #group: string;
  #holders: readonly Holder[];
  #queue: readonly LeaseRequest[];
  #reason: string | null = null;
  /** Until then only those who hold it already are known. */
  readonly #sureAtMs: number;
  /** Raised by whoever asks, or lets go. */
  #version = 0;
  /** The reason that each waiting request was told. */
  readonly #told = new Map<string, string>();

  constructor({ group, carried, isUnsure = false }: GroupLeaseRequest) {
    this.#group = group;
    this.#sureAtMs = isUnsure && carried === undefined ? Date.now() + unsureMs : 0;
    this.#holders = carried?.holders ?? [];
    this.#queue = carried?.queue ?? [];
    setHandler(leaseStatusQuery, () => this.#status());
    setHandler(acquireLeaseSignal, (request) => this.#asked(request));
    setHandler(releaseLeaseSignal, ({ holder, requestId }) => {
      const isIt = (one: LeaseRequest) => one.holder === holder && one.requestId === requestId;
      this.#holders = this.#holders.filter((one) => !isIt(one));
      this.#queue = this.#queue.filter((one) => !isIt(one));
      this.#version += 1;
    });
  }

  async run(): Promise<void> {
    let lookMs = firstLookMs;
    for (;;) {
      const seen = this.#version;
      await this.#serve();
      const changed = () => this.#version !== seen;
      const isIdle = this.#holders.length + this.#queue.length === 0;
      if (this.#queue.length > 0) {
        const sureInMs = this.#isUnsure ? this.#sureAtMs - Date.now() : lookMs;
        const heard = await condition(changed, Math.min(lookMs, sureInMs));
        lookMs = heard ? firstLookMs : Math.min(2 * lookMs, longestLookMs);
      } else if (this.#isUnsure) await condition(changed, this.#sureAtMs - Date.now());
      else if (!isIdle) await condition(changed);
      else if (!(await condition(changed, idleMs))) return;
      await this.#continueWhenLong();
    }
  }

  /** Of a holder that adopts its replica again, the newer request counts. */
  #asked(request: LeaseRequest): void {
    const { holder, requestId } = request;
    if (this.#holders.some((one) => one.holder === holder && one.requestId === requestId)) return;
    this.#told.delete(request.requestId);
    this.#queue = [...this.#queue.filter((one) => one.holder !== holder), request];
    this.#version += 1;
  }

  async #serve(): Promise<void> {
    for (const request of this.#queue.filter((one) => this.#mayHold(one))) {
      await this.#grant(request);
    }
    const [next] = this.#queue;
    if (next === undefined) {
      this.#reason = null;
      return;
    }
    const reasons: string[] = [];
    for (const holder of this.#holders) {
      const reason = await this.#look(holder);
      if (reason !== null) reasons.push(reason);
    }
    if (this.#isUnsure) {
      const until = new Date(this.#sureAtMs).toISOString();
      reasons.push(`the lease’s workflow was lost: until ${until} those who hold it may say so`);
    }
    this.#reason = reasons.join('; ');
    if (this.#queue.some((one) => this.#mayHold(one))) return this.#serve();
    await this.#tellQueue();
  }

  #mayHold(request: LeaseRequest): boolean {
    const others = this.#holders.filter(({ holder }) => holder !== request.holder);
    if (request.standalone || request.isHeld === true) return true;
    return others.length === 0 && !this.#isUnsure;
  }

  get #isUnsure(): boolean {
    return Date.now() < this.#sureAtMs;
  }

  async #grant(request: LeaseRequest): Promise<void> {
    // It may have been taken back, or asked for anew, while others were answered.
    if (!this.#queue.includes(request) || !this.#mayHold(request)) return;
    const { holder, requestId } = request;
    this.#queue = this.#queue.filter((one) => one !== request);
    const before = this.#holders.find((one) => one.holder === holder);
    const granted = { ...request, sinceMs: before?.sinceMs ?? Date.now() };
    this.#holders = [...this.#holders.filter((one) => one !== before), granted];
    this.#told.delete(requestId);
    await this.#answer(request, true, '');
  }

  /** Why it still holds; null, and dropped, when its workflow is gone and its machine is safe. */
  async #look(holder: Holder): Promise<string | null> {
    const name = replicaText(holder.replica);
    const isHere = await this.#answer(holder, true, '');
    if (!this.#holders.includes(holder)) return null;
    if (isHere) return `${name} is being moved`;
    const gone = await this.#lookAtMachine(holder);
    if (gone !== null) return `${name}, whose workflow is gone, ${gone}`;
    this.#holders = this.#holders.filter((one) => one !== holder);
    return null;
  }

  /** How a replica without a workflow keeps the lease; null when nothing is at risk there. */
  async #lookAtMachine({ host, agentId, replica }: Holder): Promise<string | null> {
    try {
      const view = await agentCalls(host).ask.readBinding({ contractVersion, agentId, replica });
      if (view === null || view.migrationId === null || !isHalfWay(view.phase)) return null;
      return `stands half way, in phase ${view.phase ?? ''}: resume it --from-record`;
    } catch {
      return `cannot be looked at: machine ${host} does not answer`;
    }
  }

  async #tellQueue(): Promise<void> {
    const reason = this.#reason ?? '';
    for (const request of this.#queue) {
      if (this.#told.get(request.requestId) === reason) continue;
      this.#told.set(request.requestId, reason);
      if (await this.#answer(request, false, reason)) continue;
      // It was terminated while it waited: nothing of it has begun.
      this.#queue = this.#queue.filter((one) => one !== request);
    }
  }

  /** False when no workflow runs under the asker's id. */
  async #answer(to: LeaseRequest, granted: boolean, reason: string): Promise<boolean> {
    const answer = { group: this.#group, requestId: to.requestId, granted, reason };
    try {
      await getExternalWorkflowHandle(to.holder).signal(leaseAnswerSignal, answer);
      return true;
    } catch {
      return false;
    }
  }

  #status(): LeaseStatus {
    return { holders: this.#holders, queue: this.#queue, reason: this.#reason };
  }

  async #continueWhenLong(): Promise<void> {
    if (!workflowInfo().continueAsNewSuggested || this.#isUnsure) return;
    await condition(allHandlersFinished);
    const carried = { holders: this.#holders, queue: this.#queue };
    await continueAsNew<typeof groupLease>({ group: this.#group, carried });
  }
}

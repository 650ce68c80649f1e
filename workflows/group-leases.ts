/** The leases that a migration holds while its member is at risk: of the groups in its process. */
import {
  condition,
  getExternalWorkflowHandle,
  ParentClosePolicy,
  patched,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';

import { contractVersion, groupLeaseWorkflowId } from '../core/ids.ts';
import { isHalfWay, type MigrationMode } from '../core/phases.ts';
import type { AgentCalls } from './agent-calls.ts';
import { heldAgainMs, type groupLease } from './group-lease.ts';
import type { MigrationState } from './migration-state.ts';
import { acquireLeaseSignal, releaseLeaseSignal, type LeaseRequest } from './rollout-messages.ts';
import type { Waits } from './waits.ts';
import { tellsLess } from './less-told.ts';

/** A lease whose run was terminated has forgotten who waits. */
const askAgainMs = 15 * 60_000;

/** A lease that is not granted within this is a wait. */
const atOnceMs = 5_000;

/** A run that ends between the signal and the start is started by the next try. */
const tries = 10;

export class GroupLeases {
  readonly #state: MigrationState;
  readonly #waits: Waits;
  readonly #calls: AgentCalls;
  #requests = 0;
  /** It says that it holds them: nothing is let go before that has arrived. */
  #isSaying = false;

  constructor(state: MigrationState, waits: Waits, calls: AgentCalls) {
    this.#state = state;
    this.#waits = waits;
    this.#calls = calls;
  }

  /** True once all are held; false when it is to be abandoned instead. */
  async acquire(agentId: string, mode: MigrationMode): Promise<boolean> {
    if (this.#state.leases.length > 0) return true;
    // In the order of the names, so that no two wait for each other.
    for (const group of await this.#groups(agentId, mode)) {
      if (await this.#acquireOne(group)) continue;
      await this.release();
      return false;
    }
    return true;
  }

  /** A lease whose run was lost is told, again and again, that it is held. */
  async keep(): Promise<void> {
    const state = this.#state;
    const isOver = () => state.stage === 'ended';
    for (;;) {
      await condition(() => isOver() || state.leases.length > 0);
      if (isOver() || !patched('leases-kept')) return;
      if (await condition(() => isOver() || state.leases.length === 0, heldAgainMs)) continue;
      this.#isSaying = true;
      for (const held of state.leases) {
        if (!state.leases.includes(held)) continue;
        await this.#ask(held.group, { ...this.#request(held.requestId), isHeld: true });
      }
      this.#isSaying = false;
    }
  }

  /**
   * A run that was terminated before it let go of its lease: whoever asks for it would be told of
   * this one, which soaks and needs none.
   */
  async giveBackEarlier(): Promise<void> {
    const state = this.#state;
    const isOver = () => state.stage === 'ended';
    const needsNone = () => state.isSoaking && !state.wantsRollback && state.leases.length === 0;
    const earlier = () =>
      Object.values(state.leaseAnswers).find(
        ({ granted, requestId }) => granted && !requestId.startsWith(`${workflowInfo().runId}/`),
      );
    for (;;) {
      await condition(() => isOver() || (needsNone() && earlier() !== undefined));
      const found = earlier();
      if (isOver() || found === undefined || !patched('earlier-lease')) return;
      const { group, requestId } = found;
      const { [group]: _, ...others } = state.leaseAnswers;
      state.leaseAnswers = others;
      await this.#letGo(group, requestId);
    }
  }

  /** What stands half way keeps them: they look at its machine when another asks. */
  async end(): Promise<void> {
    const { view, outcome } = this.#state;
    if (outcome === 'superseded' || isHalfWay(view?.phase ?? null)) return;
    await this.release();
  }

  async release(): Promise<void> {
    const { leases } = this.#state;
    this.#state.leases = [];
    if (this.#isSaying) await condition(() => !this.#isSaying);
    for (const { group, requestId } of leases) await this.#letGo(group, requestId);
  }

  /** A live replica's process goes on: it puts nobody else at risk. */
  async #groups(agentId: string, mode: MigrationMode): Promise<readonly string[]> {
    const { replica } = this.#state.request.input;
    if (mode === 'live') return [replica.cluster];
    const request = { contractVersion, agentId, replica };
    const { sharesProcessWith } = await this.#calls.ask.readMember(request);
    const others = sharesProcessWith.map(({ cluster }) => cluster);
    return [...new Set([replica.cluster, ...others])].toSorted();
  }

  #request(requestId: string): LeaseRequest {
    const { request, agentId } = this.#state;
    const { migrationId, replica, host, standalone } = request.input;
    const { workflowId: holder } = workflowInfo();
    const isStandalone = standalone !== null;
    return {
      requestId,
      holder,
      migrationId,
      replica,
      host,
      agentId: agentId ?? '',
      standalone: isStandalone,
    };
  }

  async #acquireOne(group: string): Promise<boolean> {
    const state = this.#state;
    this.#requests += 1;
    const requestId = `${workflowInfo().runId}/${this.#requests}`;
    const request = this.#request(requestId);
    const answer = () => {
      const given = state.leaseAnswers[group];
      return given?.requestId === requestId ? given : undefined;
    };
    let askedMs = Number.NEGATIVE_INFINITY;
    while (answer()?.granted !== true) {
      if (state.isCalledOff) {
        await this.#letGo(group, requestId);
        return false;
      }
      if (Date.now() - askedMs >= askAgainMs) {
        askedMs = Date.now();
        await this.#ask(group, request);
        const isOver = () => answer() !== undefined || state.isCalledOff;
        // Most are granted at once: that is no wait to be told of.
        if (answer() === undefined && tellsLess()) await condition(isOver, atOnceMs);
        continue;
      }
      const seen = answer();
      const reason = `the lease of group ${group} is asked for`;
      const waiting = seen === undefined ? reason : `another voter is at risk: ${seen.reason}`;
      const remedy = 'wait until that one soaks; see status of the one that is named';
      const left = Math.max(1, askedMs + askAgainMs - Date.now());
      if (seen?.granted === true) continue;
      await this.#waits.until(
        { kind: 'lease', reason: waiting, remedy },
        () => answer() !== seen || state.isCalledOff,
        left,
      );
    }
    state.leases = [...state.leases, { group, requestId }];
    return true;
  }

  async #ask(group: string, request: LeaseRequest): Promise<void> {
    const workflowId = groupLeaseWorkflowId(group);
    for (let i = 0; i < tries; i += 1) {
      try {
        await getExternalWorkflowHandle(workflowId).signal(acquireLeaseSignal, request);
        return;
      } catch {
        // It does not run: whoever is first starts it.
        await this.#start(group);
      }
    }
  }

  /** Of a run before it is known by this how it ended: at its end nobody held the lease. */
  async #start(group: string): Promise<void> {
    const starts = [
      { workflowIdReusePolicy: 'REJECT_DUPLICATE', isUnsure: false },
      { workflowIdReusePolicy: 'ALLOW_DUPLICATE_FAILED_ONLY', isUnsure: true },
      { workflowIdReusePolicy: 'ALLOW_DUPLICATE', isUnsure: false },
    ] as const;
    for (const { workflowIdReusePolicy, isUnsure } of starts) {
      const started = startChild<typeof groupLease>('groupLease', {
        workflowId: groupLeaseWorkflowId(group),
        args: [{ group, isUnsure }],
        parentClosePolicy: ParentClosePolicy.ABANDON,
        workflowIdReusePolicy,
      });
      if ((await started.catch(() => null)) !== null) return;
    }
  }

  /** Of a run that has ended nobody holds anything. */
  async #letGo(group: string, requestId: string): Promise<void> {
    const { workflowId: holder } = workflowInfo();
    await getExternalWorkflowHandle(groupLeaseWorkflowId(group))
      .signal(releaseLeaseSignal, { holder, requestId })
      .catch(() => {});
  }
}

/** The leases that a migration holds while its member is at risk: of the groups in its process. */
import {
  getExternalWorkflowHandle,
  ParentClosePolicy,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';

import { contractVersion, groupLeaseWorkflowId } from '../core/ids.ts';
import { isHalfWay, type MigrationMode } from '../core/phases.ts';
import type { AgentCalls } from './agent-calls.ts';
import type { groupLease } from './group-lease.ts';
import type { MigrationState } from './migration-state.ts';
import { acquireLeaseSignal, releaseLeaseSignal, type LeaseRequest } from './rollout-messages.ts';
import type { Waits } from './waits.ts';

/** A lease whose run was terminated has forgotten who waits. */
const askAgainMs = 15 * 60_000;

/** A run that ends between the signal and the start is started by the next try. */
const tries = 10;

export class GroupLeases {
  readonly #state: MigrationState;
  readonly #waits: Waits;
  readonly #calls: AgentCalls;
  #requests = 0;

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
      if (await this.#acquireOne(group, agentId)) continue;
      await this.release();
      return false;
    }
    return true;
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

  async #acquireOne(group: string, agentId: string): Promise<boolean> {
    const state = this.#state;
    this.#requests += 1;
    const requestId = `${workflowInfo().runId}/${this.#requests}`;
    const { migrationId, replica, host, standalone } = state.request.input;
    const request: LeaseRequest = {
      requestId,
      holder: workflowInfo().workflowId,
      migrationId,
      replica,
      host,
      agentId,
      standalone: standalone !== null,
    };
    const answer = () => {
      const given = state.leaseAnswers[group];
      return given?.requestId === requestId ? given : undefined;
    };
    let askedMs = Number.NEGATIVE_INFINITY;
    while (answer()?.granted !== true) {
      if (state.abandonWish !== null) {
        await this.#letGo(group, requestId);
        return false;
      }
      if (Date.now() - askedMs >= askAgainMs) {
        askedMs = Date.now();
        await this.#ask(group, request);
      }
      const seen = answer();
      const reason = `the lease of group ${group} is asked for`;
      const waiting = seen === undefined ? reason : `another voter is at risk: ${seen.reason}`;
      const remedy = 'wait until that one soaks; see status of the one that is named';
      const left = Math.max(1, askedMs + askAgainMs - Date.now());
      if (seen?.granted === true) continue;
      await this.#waits.until(
        { kind: 'lease', reason: waiting, remedy },
        () => answer() !== seen,
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
        await startChild<typeof groupLease>('groupLease', {
          workflowId,
          args: [{ group }],
          parentClosePolicy: ParentClosePolicy.ABANDON,
        }).catch(() => {});
      }
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

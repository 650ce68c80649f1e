/** How a rollout waits, and for what: the status says so meanwhile. */
import { condition, proxyActivities } from '@temporalio/workflow';

import type { StoreActivities } from '../activities/contract.ts';
import { storeTaskQueue } from '../core/ids.ts';

import type { ClusterState } from './cluster-state.ts';
import { askStore } from './retry-policies.ts';
import type { RolloutWaiting } from './rollout-messages.ts';

/** What is waited for is looked at again after this, doubled each time nothing has changed. */
const firstLookMs = 2_000;
const longestLookMs = 60_000;

/** The store is asked again after this at the latest: rules of time zones may be renewed. */
const windowLookMs = 6 * 60 * 60_000;

const store = proxyActivities<StoreActivities>({ ...askStore, taskQueue: storeTaskQueue });

export type ClusterWaitReason = Omit<RolloutWaiting, 'sinceMs'>;

type Window =
  | { readonly open: true; readonly closesInMs: number | null }
  | { readonly open: false; readonly waiting: ClusterWaitReason; readonly againMs: number };

export class ClusterWaits {
  readonly #state: ClusterState;
  #lookMs = firstLookMs;
  /** The news up to here have been looked at. */
  #seen = 0;

  constructor(state: ClusterState) {
    this.#state = state;
  }

  /** All that is known now is about to be looked at. */
  begin(): void {
    this.#seen = this.#state.version;
  }

  /** Until a report or a wish that is new, or the time; true unless it was the time. */
  async forNews(waiting: ClusterWaitReason | null, timeoutMs?: number): Promise<boolean> {
    const state = this.#state;
    const shown = state.waiting;
    const same = shown?.kind === waiting?.kind && shown?.reason === waiting?.reason;
    const sinceMs = same && shown !== null ? shown.sinceMs : Date.now();
    state.waiting = waiting && { ...waiting, sinceMs };
    const news = () => state.version !== this.#seen;
    // Whatever is waited for, a deadline that passes is news.
    const left = state.deadlineMs - Date.now();
    const endsMs = Math.min(timeoutMs ?? Infinity, left > 0 ? left : Infinity);
    let heard = true;
    if (endsMs === Infinity) await condition(news);
    else heard = await condition(news, Math.max(1, endsMs));
    this.begin();
    return heard;
  }

  /** Until it is time to look again, the later the longer nothing changes. */
  async toLookAgain(waiting: ClusterWaitReason): Promise<void> {
    const shown = this.#state.waiting;
    const same = shown?.kind === waiting.kind && shown.reason === waiting.reason;
    this.#lookMs = same ? Math.min(2 * this.#lookMs, longestLookMs) : firstLookMs;
    await this.forNews(waiting, this.#lookMs);
  }

  /** True while no window is closed; waits until one opens otherwise. */
  async passWindow(): Promise<boolean> {
    const window = await this.window();
    if (window.open) return true;
    await this.forNews(window.waiting, window.againMs);
    return false;
  }

  /** How the policy's windows stand now. */
  async window(): Promise<Window> {
    const { windows } = this.#state.rollout.policy;
    if (windows.length === 0) return { open: true, closesInMs: null };
    const kind = 'window';
    try {
      const answer = await store.windowAt({ windows, atMs: Date.now() });
      if (answer.open) return answer;
      const { opensInMs } = answer;
      const opens = opensInMs === null ? 'none opens any more' : 'the next one has not opened yet';
      const reason = `no maintenance window is open: ${opens}`;
      const againMs = Math.min(opensInMs ?? windowLookMs, windowLookMs);
      const waiting = { kind, reason, remedy: 'wait, or abandon and change it' } as const;
      return { open: false, waiting, againMs };
    } catch {
      const reason = 'whether a maintenance window is open is not known: the store does not answer';
      const remedy = 'start the control plane’s store ("quorumshift dev" or "quorumshift api")';
      return { open: false, waiting: { kind, reason, remedy }, againMs: firstLookMs };
    }
  }
}

/** How a rollout waits, and for what: the status says so meanwhile. */
import { condition, proxyActivities } from '@temporalio/workflow';

import type { StoreActivities } from '../activities/contract.ts';
import { storeTaskQueue } from '../core/ids.ts';

import type { ClusterState } from './cluster-state.ts';
import { askStore } from './retry-policies.ts';
import type { RolloutWaiting } from './rollout-messages.ts';
import { storeWaiting } from './store-records.ts';

/** What is waited for is looked at again after this, doubled each time nothing has changed. */
const firstLookMs = 2_000;
const longestLookMs = 60_000;

/** The store is asked again after this at the latest: rules of time zones may be renewed. */
const windowLookMs = 6 * 60 * 60_000;

const store = proxyActivities<StoreActivities>({ ...askStore, taskQueue: storeTaskQueue });

export type ClusterWaitReason = Omit<RolloutWaiting, 'sinceMs'>;

/** How the policy's windows stand. */
export type WindowLook =
  | {
      readonly is: 'open';
      /** Look again after this, milliseconds: it may have closed by then. */
      readonly againMs: number;
      /** When it closes, Unix time; Infinity: it does not. */
      readonly endsMs: number;
    }
  | {
      /** Unknown: the store does not answer. */
      readonly is: 'closed' | 'unknown';
      readonly waiting: ClusterWaitReason;
      readonly againMs: number;
    };

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

  /** When the window closes that is open, Unix time; null, and it has waited, while none is. */
  async passWindow(): Promise<number | null> {
    const window = await this.window();
    if (window.is === 'open') return window.endsMs;
    await this.forNews(window.waiting, window.againMs);
    return null;
  }

  /** Asks the store. */
  async window(): Promise<WindowLook> {
    const { windows } = this.#state.rollout.policy;
    if (windows.length === 0) return { is: 'open', againMs: Infinity, endsMs: Infinity };
    const kind = 'window';
    const atMs = Date.now();
    try {
      const answer = await store.windowAt({ windows, atMs });
      const changesInMs = answer.open ? answer.closesInMs : answer.opensInMs;
      const againMs = Math.min(changesInMs ?? windowLookMs, windowLookMs);
      const endsMs = changesInMs === null ? Infinity : atMs + changesInMs;
      if (answer.open) return { is: 'open', againMs, endsMs };
      const opens =
        changesInMs === null
          ? 'none opens any more'
          : `the next one opens at ${new Date(atMs + changesInMs).toISOString()}`;
      const reason = `no maintenance window is open: ${opens}`;
      const waiting = { kind, reason, remedy: 'wait, or abandon and change it' } as const;
      return { is: 'closed', waiting, againMs };
    } catch {
      const waiting = storeWaiting('whether a maintenance window is open is not known');
      return { is: 'unknown', waiting, againMs: firstLookMs };
    }
  }
}

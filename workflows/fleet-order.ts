/**
 * The clusters of a fleet in their order, read from the snapshot page by page: what may begin next,
 * without what an earlier run has ended, or an operator leaves out.
 */
import type { FleetCluster } from '../activities/contract.ts';
import { planWaves } from '../core/fleet-plan.ts';
import type { FleetRecords } from './fleet-records.ts';
import type { FleetState } from './fleet-state.ts';

/** Clusters of a page: some kB. */
const pageClusters = 100;

/** Clusters that may be passed over while their machines are taken. */
const lookahead = 200;

export interface Candidate extends FleetCluster {
  readonly position: number;
}

export class FleetOrder {
  readonly #state: FleetState;
  readonly #records: FleetRecords;
  #candidates: Candidate[] = [];
  /** Where the next page begins; null at the end. */
  #next: number | null;

  constructor(state: FleetState, records: FleetRecords) {
    this.#state = state;
    this.#records = records;
    this.#next = state.positions.cursor;
  }

  get isRead(): boolean {
    return this.#next === null;
  }

  /** Those that may begin, as far as slots and waves allow: enough of them, or all there are. */
  async candidates(): Promise<readonly Candidate[]> {
    const { positions, skip } = this.#state;
    this.#candidates = this.#candidates.filter(({ position }) => !positions.has(position));
    while (this.#next !== null && this.#candidates.length <= lookahead - pageClusters) {
      const { clusters, next } = await this.page(this.#next);
      this.#next = next;
      const fresh = clusters.filter(({ position }) => !positions.has(position));
      this.#candidates.push(...(await this.withoutResults(fresh)));
    }
    for (const candidate of this.#candidates) {
      if (skip.delete(candidate.cluster)) this.#leaveOut(candidate);
    }
    return this.#candidates.filter(({ position }) => !positions.has(position));
  }

  async page(from: number): Promise<{ clusters: Candidate[]; next: number | null }> {
    const state = this.#state;
    const { snapshot, policy } = state.request;
    const { store } = this.#records;
    const request = { snapshot, from, limit: pageClusters };
    const { clusters, next, total } = await this.#records.answer(store.readFleetPage(request));
    state.total = total;
    state.waves = planWaves(policy.waves, total);
    return { clusters: clusters.map((one, n) => ({ ...one, position: from + n })), next };
  }

  #leaveOut({ cluster, position }: Candidate): void {
    const state = this.#state;
    state.positions.add(position);
    const reason = 'an operator left it out';
    state.endings.push({ result: { cluster, outcome: 'skipped', reason }, member: null });
    state.version += 1;
  }

  /** Counts those that a run before this chain of runs has ended. */
  async withoutResults(clusters: readonly Candidate[]): Promise<readonly Candidate[]> {
    const state = this.#state;
    if (!state.known || clusters.length === 0) return clusters;
    const { fleet, rolloutId } = state.request;
    const { store } = this.#records;
    const names = clusters.map(({ cluster }) => cluster);
    const results = await this.#records.answer(
      store.endedClusters({ fleet, rolloutId, clusters: names }),
    );
    const outcomes = new Map(results.map(({ cluster, outcome }) => [cluster, outcome]));
    return clusters.filter(({ cluster, position }) => {
      const outcome = outcomes.get(cluster);
      if (outcome === undefined) return true;
      state.positions.add(position);
      state.count(outcome);
      return false;
    });
  }
}

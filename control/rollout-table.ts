/** Fleets' rollouts that have begun, and how their clusters ended: what outlives a workflow. */
import { fail } from '../core/errors.ts';
import { count, text, textOrNull, type ControlTables } from './control-tables.ts';

export interface FleetRollout {
  readonly fleet: string;
  readonly rolloutId: string;
}

/** How a cluster of a fleet's rollout has ended. */
export interface ClusterResult {
  readonly cluster: string;
  readonly outcome: 'finalized' | 'rolled-back' | 'partly' | 'abandoned' | 'skipped';
  readonly reason: string | null;
}

export class RolloutTable {
  readonly #tables: ControlTables;

  constructor(tables: ControlTables) {
    this.#tables = tables;
  }

  /**
   * Notes that it has begun, durably; `fresh` the first time.
   * @throws `rollout.conflict` when the id was used with another snapshot
   */
  open({ fleet, rolloutId, snapshot }: FleetRollout & { readonly snapshot: string }): {
    readonly fresh: boolean;
    /** When it began first. */
    readonly startedMs: number;
  } {
    const opened = this.#tables.change(() => {
      const row = this.#tables.one(
        'SELECT snapshot, started_at FROM rollout WHERE fleet = ? AND rollout_id = ?',
        fleet,
        rolloutId,
      );
      if (row === null) {
        const startedMs = Date.now();
        this.#tables.run(
          'INSERT INTO rollout(fleet, rollout_id, snapshot, started_at) VALUES (?, ?, ?, ?)',
          fleet,
          rolloutId,
          snapshot,
          startedMs,
        );
        return { fresh: true, startedMs };
      }
      if (text(row, 'snapshot') !== snapshot) {
        const actual = 'it was started with another snapshot';
        throw fail('rollout.conflict', { rollout: rolloutId, actual });
      }
      return { fresh: false, startedMs: count(row, 'started_at') };
    });
    this.#tables.syncLog();
    return opened;
  }

  /** Durable; a later result of the same cluster replaces it. */
  record({ fleet, rolloutId, cluster, outcome, reason }: FleetRollout & ClusterResult): void {
    this.#tables.run(
      `INSERT INTO cluster_result(fleet, rollout_id, cluster, outcome, reason, at)
         VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET outcome = excluded.outcome, reason = excluded.reason,
           at = excluded.at`,
      fleet,
      rolloutId,
      cluster,
      outcome,
      reason,
      Date.now(),
    );
  }

  /** Those of `clusters` that have a result. */
  results({
    fleet,
    rolloutId,
    clusters,
  }: FleetRollout & { readonly clusters: readonly string[] }): ClusterResult[] {
    const rows = this.#tables.all(
      `SELECT cluster, outcome, reason FROM cluster_result
         WHERE fleet = ? AND rollout_id = ? AND cluster IN (SELECT value FROM json_each(?))`,
      fleet,
      rolloutId,
      JSON.stringify(clusters),
    );
    return rows.map((row) => ({
      cluster: text(row, 'cluster'),
      outcome: text(row, 'outcome') as ClusterResult['outcome'],
      reason: textOrNull(row, 'reason'),
    }));
  }
}

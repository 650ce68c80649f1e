/**
 * Rollout snapshots: what a fleet's rollout follows, never changed, under the BLAKE3 of its
 * canonical JSON. A row for each cluster, so that a page or one cluster is read without the rest.
 */
import { Blake3Hasher } from '@napi-rs/blake-hash';

import type { FleetPage } from './fleet-page.ts';
import { canonicalJson } from '../core/canonical-json.ts';
import { assert, fail } from '../core/errors.ts';
import { contractVersion } from '../core/ids.ts';
import { clusterRolloutSchema, type ClusterRollout } from '../schemas/cluster-rollout.ts';
import { rolloutPolicySchema, type RolloutPolicy } from '../schemas/rollout-policy.ts';
import { count, text, type ControlTables, type Row } from './control-tables.ts';

/** More clusters in one page make a message of more than 10 kB. */
const mostClusters = 1000;

export interface SnapshotInfo {
  readonly digest: string;
  readonly rolloutId: string;
  readonly requestedBy: string;
  readonly policy: RolloutPolicy;
  readonly clusters: number;
  /** When it was first stored: ISO 8601, UTC. */
  readonly at: string;
}

export class SnapshotTable {
  readonly #tables: ControlTables;

  constructor(tables: ControlTables) {
    this.#tables = tables;
  }

  /**
   * Stores the rollouts of one fleet (one policy, one rollout id), durably; once for each content.
   * @returns its digest
   */
  put(rollouts: readonly ClusterRollout[]): string {
    const [first] = rollouts;
    assert(first !== undefined, 'a snapshot has at least one cluster');
    const { policy, rolloutId, requestedBy } = first;
    const clusters = rollouts.map(({ cluster, members }) => ({ cluster, members }));
    const content = canonicalJson({ policy, rolloutId, requestedBy, clusters });
    const digest = new Blake3Hasher().update(Buffer.from(content)).digest('hex');
    this.#tables.change(() => {
      const head = `INSERT INTO snapshot(digest, policy, rollout_id, requested_by, clusters, at)
        VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`;
      const at = new Date().toISOString();
      const values = [digest, JSON.stringify(policy), rolloutId, requestedBy, clusters.length, at];
      if (this.#tables.run(head, ...values) === 0) return;
      for (const [position, { cluster, members }] of clusters.entries()) {
        this.#tables.run(
          `INSERT INTO snapshot_cluster(digest, position, cluster, hosts, members)
             VALUES (?, ?, ?, ?, ?)`,
          digest,
          position,
          cluster,
          JSON.stringify([...new Set(members.map(({ host }) => host))]),
          JSON.stringify(members),
        );
      }
    });
    // It may have been another process that stored it, just now.
    this.#tables.syncLog();
    return digest;
  }

  /** @throws `snapshot.unknown` */
  info(digest: string): SnapshotInfo {
    const row = this.#tables.one('SELECT * FROM snapshot WHERE digest = ?', digest);
    if (row === null) throw this.#unknown(digest, 'it does not');
    return {
      digest,
      rolloutId: text(row, 'rollout_id'),
      requestedBy: text(row, 'requested_by'),
      policy: rolloutPolicySchema.parse(JSON.parse(text(row, 'policy'))),
      clusters: count(row, 'clusters'),
      at: text(row, 'at'),
    };
  }

  /**
   * Clusters `[from, from + limit)` of the fleet's order. @throws `snapshot.unknown`
   */
  page(request: {
    readonly snapshot: string;
    readonly from: number;
    readonly limit: number;
  }): FleetPage {
    const { snapshot, from, limit } = request;
    assert(limit >= 1 && limit <= mostClusters, `a page has 1 to ${mostClusters} clusters`);
    const head = this.#tables.one('SELECT clusters FROM snapshot WHERE digest = ?', snapshot);
    if (head === null) throw this.#unknown(snapshot, 'it does not');
    const total = count(head, 'clusters');
    const rows = this.#tables.all(
      `SELECT cluster, hosts FROM snapshot_cluster
         WHERE digest = ? AND position >= ? ORDER BY position LIMIT ?`,
      snapshot,
      from,
      limit,
    );
    const next = from + rows.length;
    const clusters = rows.map((row) => ({ cluster: text(row, 'cluster'), hosts: hostsOf(row) }));
    return { clusters, next: next < total ? next : null, total };
  }

  /** One cluster's rollout. @throws `snapshot.unknown` */
  cluster(request: { readonly snapshot: string; readonly cluster: string }): ClusterRollout {
    const { snapshot, cluster } = request;
    const { rolloutId, requestedBy, policy } = this.info(snapshot);
    const row = this.#tables.one(
      'SELECT members FROM snapshot_cluster WHERE digest = ? AND cluster = ?',
      snapshot,
      cluster,
    );
    if (row === null) throw this.#unknown(snapshot, `it does, without cluster "${cluster}"`);
    const members: unknown = JSON.parse(text(row, 'members'));
    return clusterRolloutSchema.parse({
      contractVersion,
      rolloutId,
      cluster,
      members,
      policy,
      requestedBy,
    });
  }

  #unknown(digest: string, actual: string) {
    return fail('snapshot.unknown', { digest, store: this.#tables.file, actual });
  }
}

function hostsOf(row: Row): string[] {
  return JSON.parse(text(row, 'hosts')) as string[];
}

/** The control plane behind the HTTP API. Who asks, and for which machines, it knows itself. */
import type { AuditLine } from '../../control/audit-chain.ts';
import type { AuditFilter } from '../../control/audit-table.ts';
import type { DeclaredInventory } from '../../control/inventory-file.ts';
import { assert } from '../../core/errors.ts';
import type { ClusterRollout } from '../../schemas/cluster-rollout.ts';
import type { Inventory } from '../../schemas/inventory.ts';
import type { ControlPlane, ScheduleGiven } from '../control-plane.ts';
import type { StartedFleet } from '../fleet-client.ts';
import { ApiConnection, keyHeader, type ApiPlace } from './api-connection.ts';
import type { components } from './gen/paths.ts';
import { HttpClusterClient } from './http-cluster-client.ts';
import { HttpFleetClient } from './http-fleet-client.ts';
import { HttpMigrationClient } from './http-migration-client.ts';
import { HttpScheduleClient } from './http-schedule-client.ts';

export class HttpControlPlane implements ControlPlane {
  readonly migrations: HttpMigrationClient;
  readonly clusters: HttpClusterClient;
  readonly fleets: HttpFleetClient;
  readonly schedules: HttpScheduleClient;
  readonly #api: ApiConnection;

  constructor(place: ApiPlace) {
    this.#api = new ApiConnection(place);
    this.migrations = new HttpMigrationClient(place);
    this.clusters = new HttpClusterClient(place);
    this.fleets = new HttpFleetClient(place);
    this.schedules = new HttpScheduleClient(place);
  }

  async inventory(): Promise<DeclaredInventory> {
    const { inventory } = await this.#api.answered(this.#api.calls.GET('/v1/inventory'));
    return inventory;
  }

  /** Makes it the present one; takes a token of role `admin`. */
  async putInventory(
    inventory: Inventory,
    { dryRun }: { readonly dryRun: boolean },
  ): Promise<PutInventory> {
    const query = { dryRun: dryRun ? 'true' : 'false' } as const;
    const given = { params: { header: keyHeader(), query }, body: inventory };
    return this.#api.done(this.#api.calls.PUT('/v1/inventory', given));
  }

  /** The present inventory against what the machines report; takes a token of role `operate`. */
  async compareInventory(): Promise<CompareInventory> {
    const given = { params: { header: keyHeader() }, body: {} };
    return this.#api.done(this.#api.calls.POST('/v1/inventory/comparisons', given));
  }

  /** Lines of the audit trail, newest first. */
  async auditLines(filter: AuditFilter, limit: number): Promise<AuditLine[]> {
    return this.#api.listed(limit, (page) =>
      this.#api.calls.GET('/v1/audit', { params: { query: { ...filter, ...page } } }),
    );
  }

  async startFleet(
    fleet: string,
    rollouts: readonly ClusterRollout[],
  ): Promise<StartedFleet & { readonly snapshot: string }> {
    const { rolloutId, policy } = firstOf(rollouts);
    const body = { fleet, rolloutId, policy, selection: selectionOf(rollouts) };
    const asked = this.#api.calls.POST('/v1/fleets', { params: { header: keyHeader() }, body });
    return (await this.#api.done(asked)) as StartedFleet & { readonly snapshot: string };
  }

  async createSchedule(given: ScheduleGiven, rollouts: readonly ClusterRollout[]): Promise<void> {
    const { policy } = firstOf(rollouts);
    const body = { ...given, policy, selection: selectionOf(rollouts) };
    const params = { header: keyHeader() };
    await this.#api.done(this.#api.calls.POST('/v1/schedules', { params, body }));
  }
}

type CompareInventory = NonNullable<components['schemas']['CompareInventoryOperation']['result']>;
type PutInventory = NonNullable<components['schemas']['PutInventoryOperation']['result']>;

function firstOf(rollouts: readonly ClusterRollout[]): ClusterRollout {
  const [first] = rollouts;
  assert(first !== undefined, 'a rollout is of one cluster or more');
  return first;
}

function selectionOf(rollouts: readonly ClusterRollout[]): { clusters: string[] } {
  return { clusters: rollouts.map(({ cluster }) => cluster) };
}

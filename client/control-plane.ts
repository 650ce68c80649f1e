/**
 * What rolls clusters and fleets out: the same whether it is asked through the HTTP API or by way
 * of Temporal.
 */
import type { DeclaredInventory } from '../control/inventory-file.ts';
import type { ClusterRollout } from '../schemas/cluster-rollout.ts';
import type { FleetSchedule } from '../schemas/fleet-schedule.ts';
import type { ClusterClient } from './cluster-client.ts';
import type { FleetClient, StartedFleet } from './fleet-client.ts';
import type { Migrations } from './migrations.ts';
import type { ScheduleClient } from './schedule-client.ts';

/** As {@link ClusterClient} documents them. */
export type Clusters = Pick<
  ClusterClient,
  | 'start'
  | 'plan'
  | 'status'
  | 'watch'
  | 'list'
  | 'pause'
  | 'resume'
  | 'approve'
  | 'throttle'
  | 'skip'
  | 'rollback'
  | 'complete'
  | 'abandon'
>;

/** As {@link FleetClient} documents them. */
export type Fleets = Pick<
  FleetClient,
  | 'status'
  | 'watch'
  | 'list'
  | 'pause'
  | 'resume'
  | 'approve'
  | 'throttle'
  | 'stop'
  | 'skip'
  | 'rollback'
  | 'complete'
>;

/** As {@link ScheduleClient} documents them. */
export type Schedules = Pick<
  ScheduleClient,
  'describe' | 'list' | 'pause' | 'resume' | 'trigger' | 'delete'
>;

/** What a schedule is besides the clusters that it rolls out, and their policy. */
export type ScheduleGiven = Omit<FleetSchedule, 'snapshot' | 'policy' | 'requestedBy'>;

export interface ControlPlane {
  readonly migrations: Migrations;
  readonly clusters: Clusters;
  readonly fleets: Fleets;
  readonly schedules: Schedules;
  /** What all rollouts must follow; null: they follow what they are made from. */
  inventory(): Promise<DeclaredInventory | null>;
  /**
   * Starts the rollout of these clusters, which have one policy and one rollout id.
   * @throws as {@link FleetClient.start}
   */
  startFleet(
    fleet: string,
    rollouts: readonly ClusterRollout[],
  ): Promise<StartedFleet & { readonly snapshot: string }>;
  /** @throws as {@link ScheduleClient.create} */
  createSchedule(given: ScheduleGiven, rollouts: readonly ClusterRollout[]): Promise<void>;
}

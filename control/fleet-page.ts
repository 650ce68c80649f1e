/** A page of a fleet's clusters, as its workflow schedules them. */
export interface FleetCluster {
  readonly cluster: string;
  readonly hosts: readonly string[];
}

export interface FleetPage {
  readonly clusters: readonly FleetCluster[];
  /** Where the next page begins; null at the end. */
  readonly next: number | null;
  /** Of the whole fleet. */
  readonly total: number;
}

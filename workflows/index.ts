/** The workflows of this product, by the names under which they are started. */
export { groupLease } from './group-lease.ts';
export { migrateCluster } from './migrate-cluster.ts';
export { migrateFleet } from './migrate-fleet.ts';
export { migrateReplica } from './migrate-replica.ts';
export { planCluster } from './plan-cluster.ts';
export { planReplica } from './plan-replica.ts';
export {
  listMachineReplicas,
  listReplicaProofs,
  readMachines,
  readReplicaProof,
} from './read-machines.ts';
export { scheduledFleet } from './scheduled-fleet.ts';
export { watchSchedule } from './watch-schedule.ts';

/** The workflows of this product, by the names under which they are started. */
export { groupLease } from './group-lease.ts';
export { migrateReplica } from './migrate-replica.ts';
export { planReplica } from './plan-replica.ts';

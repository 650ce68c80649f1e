/** Every resource of the API. */
import type { ApiApp, ApiContext } from '../context.ts';
import { addAudit } from './audit.ts';
import { addClusters } from './clusters.ts';
import { addFleets } from './fleets.ts';
import { addHealth } from './health.ts';
import { addHosts } from './hosts.ts';
import { addInventory } from './inventory.ts';
import { addMigrations } from './migrations.ts';
import { addOperations } from './operations.ts';
import { addProofs } from './proofs.ts';
import { addSchedules } from './schedules.ts';

export function addRoutes(app: ApiApp, context: ApiContext): void {
  addHealth(app, context);
  addMigrations(app, context);
  addProofs(app, context);
  addClusters(app, context);
  addFleets(app, context);
  addSchedules(app, context);
  addOperations(app, context);
  addInventory(app, context);
  addHosts(app, context);
  addAudit(app, context);
}

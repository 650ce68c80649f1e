/** From inventory and policy files to the snapshot that a fleet's rollout follows. */
import { randomUUID } from 'node:crypto';

import type { Command } from 'commander';

import { readInventory, readPolicy } from '../control/inventory-file.ts';
import { clusterRollouts } from '../control/rollout-input.ts';
import type { ClusterRollout } from '../schemas/cluster-rollout.ts';
import { defaultFamilies } from '../storage/families/registry.ts';
import { addSelection, selectionOf, type SelectionOptions } from './cluster-selection.ts';
import { withControlStore, type ControlStoreOptions } from './control-store-options.ts';
import { identity } from './identity.ts';

export interface FleetInputOptions extends SelectionOptions {
  readonly inventory: string;
  readonly policy: string;
  readonly id?: string;
}

export function addFleetInput(command: Command): Command {
  return addSelection(
    command
      .requiredOption('--inventory <file>', 'YAML: clusters, members, machines')
      .requiredOption('--policy <file>', 'YAML: where to, in which waves, and how carefully'),
  );
}

/** @throws `rollout.invalid`, and what is wrong in the files */
export async function fleetRollouts(options: FleetInputOptions): Promise<ClusterRollout[]> {
  const families = defaultFamilies();
  const [inventory, policy] = await Promise.all([
    readInventory(families, options.inventory),
    readPolicy(families, options.policy),
  ]);
  return clusterRollouts(families, {
    inventory,
    policy,
    selection: selectionOf(options),
    name: { rolloutId: options.id ?? `r-${randomUUID().slice(0, 8)}`, requestedBy: identity() },
  });
}

/**
 * In the store of the process that serves it, which is on this machine. Durable when resolved.
 * @returns its digest. @throws `config.invalid`, `store.unusable`
 */
export function storeSnapshot(
  options: ControlStoreOptions,
  rollouts: readonly ClusterRollout[],
): Promise<string> {
  return withControlStore(options, { create: false }, (store) => store.snapshots.put(rollouts));
}

/** From inventory and policy files to the snapshot that a fleet's rollout follows. */
import { randomUUID } from 'node:crypto';

import type { Command } from 'commander';

import { readInventory, readPolicy } from '../control/inventory-file.ts';
import { clusterRollouts, parseLabels } from '../control/rollout-input.ts';
import type { ClusterRollout } from '../schemas/cluster-rollout.ts';
import { defaultFamilies } from '../storage/families/registry.ts';
import { withControlStore, type ControlStoreOptions } from './control-store-options.ts';
import { identity } from './identity.ts';

export interface FleetInputOptions {
  readonly inventory: string;
  readonly policy: string;
  readonly clusters?: readonly string[];
  readonly label?: readonly string[];
  readonly id?: string;
}

export function addFleetInput(command: Command): Command {
  return command
    .requiredOption('--inventory <file>', 'YAML: clusters, members, machines')
    .requiredOption('--policy <file>', 'YAML: where to, in which waves, and how carefully')
    .option('--clusters <names...>', 'these alone, in this order; else in that of the inventory')
    .option('--label <name=value...>', 'those alone that have all of these labels');
}

/** @throws `rollout.invalid`, and what is wrong in the files */
export async function fleetRollouts(options: FleetInputOptions): Promise<ClusterRollout[]> {
  const families = defaultFamilies();
  const [inventory, policy] = await Promise.all([
    readInventory(families, options.inventory),
    readPolicy(families, options.policy),
  ]);
  const { clusters, label, id } = options;
  return clusterRollouts(families, {
    inventory,
    policy,
    selection: {
      ...(clusters !== undefined && { clusters }),
      ...(label !== undefined && { labels: parseLabels(label) }),
    },
    name: { rolloutId: id ?? `r-${randomUUID().slice(0, 8)}`, requestedBy: identity() },
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

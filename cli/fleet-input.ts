/** From inventory and policy files to the snapshot that a fleet's rollout follows. */
import { randomUUID } from 'node:crypto';

import { Option, type Command } from 'commander';

import { readControlConfig } from '../control/control-config-file.ts';
import { openControlStore } from '../control/control-store.ts';
import { readInventory, readPolicy } from '../control/inventory-file.ts';
import { clusterRollouts, parseLabels } from '../control/rollout-input.ts';
import type { ClusterRollout } from '../schemas/cluster-rollout.ts';
import { controlConfigSchema } from '../schemas/control-config.ts';
import { defaultFamilies } from '../storage/families/registry.ts';
import { identity } from './identity.ts';

export interface FleetInputOptions {
  readonly inventory: string;
  readonly policy: string;
  readonly clusters?: readonly string[];
  readonly label?: readonly string[];
  readonly id?: string;
}

export interface StoreOptions {
  readonly controlConfig?: string;
}

export function addFleetInput(command: Command): Command {
  return command
    .requiredOption('--inventory <file>', 'YAML: clusters, members, machines')
    .requiredOption('--policy <file>', 'YAML: where to, in which waves, and how carefully')
    .option('--clusters <names...>', 'these alone, in this order; else in that of the inventory')
    .option('--label <name=value...>', 'those alone that have all of these labels');
}

/** Whose store keeps the snapshot: this command writes to it, beside the process that serves it. */
export function controlConfigOption(): Option {
  return new Option(
    '--control-config <file>',
    'of the control plane on this machine: where its store is',
  ).env('QUORUMSHIFT_CONTROL_CONFIG');
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

/** Durable when resolved. @returns its digest. @throws `config.invalid`, `store.unusable` */
export async function storeSnapshot(
  { controlConfig }: StoreOptions,
  rollouts: readonly ClusterRollout[],
): Promise<string> {
  const { controlDir } =
    controlConfig === undefined
      ? controlConfigSchema.parse({})
      : await readControlConfig(controlConfig);
  const store = await openControlStore({ controlDir });
  try {
    return await store.snapshots.put(rollouts);
  } finally {
    await store.close();
  }
}

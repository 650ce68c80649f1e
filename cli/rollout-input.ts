/** From inventory and policy to the rollouts that a start, a plan or a schedule is about. */
import { randomUUID } from 'node:crypto';

import type { Command } from 'commander';

import type { ControlPlane } from '../client/control-plane.ts';
import { readInventory, readPolicy, type DeclaredInventory } from '../control/inventory-file.ts';
import { clusterRollouts, type Selection } from '../control/rollout-input.ts';
import { canonicalJson } from '../core/canonical-json.ts';
import { fail } from '../core/errors.ts';
import type { ClusterRollout } from '../schemas/cluster-rollout.ts';
import { defaultFamilies } from '../storage/families/registry.ts';
import { byApi, withControlPlane, type ConnectionOptions } from './connection.ts';
import type { ControlStoreOptions } from './control-store-options.ts';
import { identity } from './identity.ts';

export interface RolloutInputOptions extends ConnectionOptions, ControlStoreOptions {
  readonly inventory?: string;
  readonly policy: string;
  readonly id?: string;
}

export function addRolloutInput(command: Command): Command {
  return command
    .option(
      '--inventory <file>',
      'YAML: clusters, members, machines; may be left out with --api, whose own counts',
    )
    .requiredOption('--policy <file>', 'YAML: where to, in which waves, and how carefully');
}

/**
 * Runs `work` with the rollouts of the clusters that are selected.
 * @throws what is wrong in the files; `rollout.invalid`, also where the inventory that was given is
 *   not the one that the control plane follows
 */
export async function withRollouts<T>(
  options: RolloutInputOptions,
  selection: Selection,
  work: (plane: ControlPlane, rollouts: readonly ClusterRollout[]) => Promise<T>,
): Promise<T> {
  const { inventory: file } = options;
  const families = defaultFamilies();
  if (file === undefined && byApi(options) === null) {
    throw fail('usage.invalid', { reason: '--inventory is missing: only an API has one itself' });
  }
  const [declared, policy] = await Promise.all([
    file === undefined ? null : readInventory(families, file),
    readPolicy(families, options.policy),
  ]);
  const rolloutId = options.id ?? `r-${randomUUID().slice(0, 8)}`;
  const name = { rolloutId, requestedBy: identity() };
  const rolloutsOf = (inventory: DeclaredInventory) =>
    clusterRollouts(families, { inventory, policy, selection, name });
  const given = declared === null ? [] : rolloutsOf(declared);
  return withControlPlane(options, async (plane) => {
    const present = await plane.inventory();
    if (present === null) return work(plane, given);
    const rollouts = rolloutsOf(present);
    if (file !== undefined) requireSame(file, given, rollouts);
    return work(plane, rollouts);
  });
}

/** @throws `rollout.invalid` */
function requireSame(
  file: string,
  given: readonly ClusterRollout[],
  present: readonly ClusterRollout[],
): void {
  const texts = new Map(present.map((rollout) => [rollout.cluster, canonicalJson(rollout)]));
  const same = (rollout: ClusterRollout) => texts.get(rollout.cluster) === canonicalJson(rollout);
  const differing = [
    ...given.filter((rollout) => !same(rollout)),
    ...present.filter(({ cluster }) => given.every((rollout) => rollout.cluster !== cluster)),
  ];
  if (differing.length === 0) return;
  const names = differing.map(({ cluster }) => cluster);
  const shown = names.slice(0, 5).join(', ');
  const more = names.length > 5 ? ` and ${names.length - 5} more` : '';
  throw fail('rollout.invalid', {
    subject: `inventory ${file}`,
    reason: `it is not the API's present one: they differ in ${shown}${more}; leave it out, or let an administrator give it ("quorumshift inventory put")`,
  });
}

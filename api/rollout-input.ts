/** What rollouts follow, made from the present inventory, and from what the API was given. */
import type { DeclaredInventory } from '../control/inventory-file.ts';
import { clusterRollouts, type Selection } from '../control/rollout-input.ts';
import { fail } from '../core/errors.ts';
import type { ClusterRollout } from '../schemas/cluster-rollout.ts';
import type { RolloutPolicy } from '../schemas/rollout-policy.ts';
import { defaultFamilies } from '../storage/families/registry.ts';
import type { Asker } from './changes.ts';
import type { ApiContext } from './context.ts';

/** Letters of an id that is made from the operation's. */
const idLetters = 12;

export interface RolloutGiven {
  readonly rolloutId?: string;
  readonly policy: RolloutPolicy;
  readonly selection: Selection;
}

/** @throws `rollout.invalid`, and `request.not-found` where there is no inventory */
export async function rolloutsOf(
  { store }: Pick<ApiContext, 'store'>,
  { rolloutId, policy, selection }: RolloutGiven,
  { operationId, by }: Asker,
): Promise<ClusterRollout[]> {
  const inventory = await presentInventory(store);
  // The same for the same call, so that one that is repeated finds the rollout that it started.
  const made = `r-${operationId.replaceAll('-', '').slice(0, idLetters)}`;
  const name = { rolloutId: rolloutId ?? made, requestedBy: by };
  return clusterRollouts(defaultFamilies(), { inventory, policy, selection, name });
}

async function presentInventory(store: ApiContext['store']): Promise<DeclaredInventory> {
  const found = await store.inventories.current();
  if (found !== null) return found.inventory;
  throw fail('rollout.invalid', {
    subject: 'the inventory',
    reason: 'there is none: give one by PUT /v1/inventory',
  });
}

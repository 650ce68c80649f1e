/** Puts what a rollout follows into the control plane’s store. */
import { openControlStore } from '../../control/control-store.ts';
import type { ClusterRollout } from '../../schemas/cluster-rollout.ts';

/** @returns its digest */
export async function storeSnapshot(
  controlDir: string,
  rollouts: readonly ClusterRollout[],
): Promise<string> {
  const store = await openControlStore({ controlDir });
  try {
    return await store.snapshots.put(rollouts);
  } finally {
    await store.close();
  }
}

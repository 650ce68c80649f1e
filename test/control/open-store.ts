/** A control store in a directory of its own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { openControlStore, type ControlStore } from '../../control/control-store.ts';
import { parseInventory, parsePolicy } from '../../control/inventory-file.ts';
import { clusterRollouts } from '../../control/rollout-input.ts';
import type { ClusterRollout } from '../../schemas/cluster-rollout.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';

export const families = defaultFamilies();

export async function withStore(
  work: (store: ControlStore, controlDir: string) => Promise<void>,
): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'quorumshift-control-'));
  const controlDir = join(root, 'control');
  const store = await openControlStore({ controlDir });
  try {
    await work(store, controlDir);
  } finally {
    await store.close();
    await rm(root, { recursive: true, force: true });
  }
}

/** Of `count` clusters, five members each on five machines. */
export function manyRollouts(count: number): ClusterRollout[] {
  const clusters = Array.from({ length: count }, (_, i) => {
    const members = [1, 2, 3, 4, 5].map((n) => [
      `n${n}`,
      { host: `m${(i + n) % 7}`, source: `local:///data/c${i}/n${n}` },
    ]);
    return [`c${i}`, { members: Object.fromEntries(members) as unknown }];
  });
  const text = JSON.stringify({ version: 1, clusters: Object.fromEntries(clusters) as unknown });
  return clusterRollouts(families, {
    inventory: parseInventory(families, text, 'inventory.yaml'),
    policy: parsePolicy(families, 'target: "sqlite:///new/{cluster}/{member}"', 'policy.yaml'),
    name: { rolloutId: 'r1', requestedBy: 'test' },
  });
}

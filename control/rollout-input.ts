/** What a rollout follows, made from inventory and policy: its clusters, each with its targets. */
import { fail, QuorumshiftError } from '../core/errors.ts';
import { contractVersion, isName } from '../core/ids.ts';
import {
  clusterRolloutSchema,
  type ClusterRollout,
  type RolloutMember,
} from '../schemas/cluster-rollout.ts';
import type { RolloutPolicy } from '../schemas/rollout-policy.ts';
import type { FamilyRegistry } from '../storage/family-registry.ts';
import type { DeclaredCluster, DeclaredInventory } from './inventory-file.ts';
import { MachinePlaces } from './machine-places.ts';
import { expandTemplate, unknownPlaceholder } from './target-template.ts';

/** Which clusters of an inventory; all when nothing is said. */
export interface Selection {
  /** In this order; else in that of the inventory. */
  readonly clusters?: readonly string[];
  /** Those that have all of these. */
  readonly labels?: Readonly<Record<string, string>>;
}

export interface RolloutName {
  readonly rolloutId: string;
  readonly requestedBy: string;
}

/** `env=prod`, `tier=1`: as commands and the API's filters give labels. @throws `usage.invalid` */
export function parseLabels(texts: readonly string[]): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const text of texts.flatMap((part) => part.split(','))) {
    const split = text.indexOf('=');
    const name = text.slice(0, split);
    if (split < 0 || !isName(name) || Object.hasOwn(labels, name)) {
      const reason = `"${text}" selects no label: it must be <name>=<value>, each name once`;
      throw fail('usage.invalid', { reason });
    }
    labels[name] = text.slice(split + 1);
  }
  return labels;
}

/** @throws `rollout.invalid` for a name that the inventory lacks, or when nothing is selected */
export function selectClusters(
  inventory: DeclaredInventory,
  { clusters: names, labels = {} }: Selection,
): DeclaredInventory {
  const byName = new Map(inventory.clusters.map((cluster) => [cluster.cluster, cluster]));
  const named = names === undefined ? inventory.clusters : [...new Set(names)].map(find);
  const clusters = named.filter((cluster) =>
    Object.entries(labels).every(
      ([name, value]) => Object.hasOwn(cluster.labels, name) && cluster.labels[name] === value,
    ),
  );
  if (clusters.length === 0) {
    const reason = `nothing of its ${inventory.clusters.length} clusters is selected`;
    throw fail('rollout.invalid', { subject: 'the inventory', reason });
  }
  return { ...inventory, clusters };

  function find(name: string): DeclaredCluster {
    const cluster = byName.get(name);
    if (cluster !== undefined) return cluster;
    throw fail('rollout.invalid', {
      subject: `cluster "${name}"`,
      reason: 'the inventory has no cluster of this name',
    });
  }
}

/**
 * The rollouts of these clusters, in the inventory's order; targets may collide with nothing that
 * the whole inventory names.
 * @throws `rollout.invalid`
 */
export function clusterRollouts(
  families: FamilyRegistry,
  given: {
    readonly inventory: DeclaredInventory;
    readonly policy: RolloutPolicy;
    /** Absent: all. */
    readonly selection?: Selection;
    readonly name: RolloutName;
  },
): ClusterRollout[] {
  const { inventory, policy, name } = given;
  const { clusters } = selectClusters(inventory, given.selection ?? {});
  checkOrder(policy, clusters);
  const places = new MachinePlaces(families);
  for (const { cluster, members } of inventory.clusters) {
    for (const { member, host, source: uris } of members) {
      places.take({ host, uris, owner: `the source of ${cluster}/${member}` });
    }
  }
  return clusters.map((cluster) => {
    const members = membersOf(families, cluster, policy);
    for (const { member, host, target: uris } of members) {
      if (uris === null) continue;
      const owner = `the target of ${cluster.cluster}/${member}`;
      const taken = places.take({ host, uris, owner });
      if (taken !== null) {
        throw invalid(cluster, `on machine "${host}", ${owner} is ${taken.owner}: ${taken.place}`);
      }
    }
    return rolloutOf(cluster, members, policy, name);
  });
}

function rolloutOf(
  cluster: DeclaredCluster,
  members: readonly RolloutMember[],
  policy: RolloutPolicy,
  { rolloutId, requestedBy }: RolloutName,
): ClusterRollout {
  const parsed = clusterRolloutSchema.safeParse({
    contractVersion,
    rolloutId,
    cluster: cluster.cluster,
    members,
    policy,
    requestedBy,
  });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw invalid(cluster, `${issue?.path.join('.') ?? ''} ${issue?.message ?? 'does not fit'}`);
}

function membersOf(
  families: FamilyRegistry,
  { cluster, members }: DeclaredCluster,
  { shape, target }: RolloutPolicy,
): RolloutMember[] {
  return members.map(({ member, host, agentId, raftId, source }) => {
    const names = { cluster, member, host };
    const stays = shape === 'binary' || target === null;
    return {
      member,
      host,
      agentId,
      raftId,
      source,
      target: stays ? null : targetOf(families, target, names),
    };
  });
}

function targetOf(
  families: FamilyRegistry,
  target: NonNullable<RolloutPolicy['target']>,
  names: { readonly cluster: string; readonly member: string; readonly host: string },
) {
  const unknown = unknownPlaceholder(target);
  const subject = `${names.cluster}/${names.member}`;
  if (unknown !== null) {
    throw fail('rollout.invalid', { subject, reason: `its target has "${unknown}"` });
  }
  try {
    const uris = expandTemplate(families, target, names);
    families.familyOf(uris);
    return uris;
  } catch (error) {
    if (!(error instanceof QuorumshiftError)) throw error;
    throw fail('rollout.invalid', { subject, reason: error.message }, { cause: error });
  }
}

/** A name that no cluster has is a typing error; one that only some have is not. */
function checkOrder({ order }: RolloutPolicy, clusters: readonly DeclaredCluster[]): void {
  const names = new Set(clusters.flatMap(({ members }) => members.map(({ member }) => member)));
  const unknown = order.find((name) => !names.has(name));
  if (unknown === undefined) return;
  const reason = `"order" names the member "${unknown}", which none of its clusters has`;
  throw fail('rollout.invalid', { subject: 'the policy', reason });
}

function invalid({ cluster }: DeclaredCluster, reason: string): QuorumshiftError {
  return fail('rollout.invalid', { subject: `cluster "${cluster}"`, reason });
}

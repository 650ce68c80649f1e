/** Targets of a policy: URIs with {cluster}, {member} and {host}. */
import type { InstanceUris } from '../storage/contracts.ts';
import type { FamilyRegistry } from '../storage/family-registry.ts';

export interface TemplateNames {
  readonly cluster: string;
  readonly member: string;
  readonly host: string;
}

const placeholder = /\{([^{}]*)\}/g;
const known: readonly string[] = ['cluster', 'member', 'host'];

/** The first placeholder that means nothing, with its braces; null when all do. */
export function unknownPlaceholder(target: string | InstanceUris): string | null {
  for (const text of textsOf(target)) {
    for (const [whole, name = ''] of text.matchAll(placeholder)) {
      if (!known.includes(name)) return whole;
    }
  }
  return null;
}

/** @throws `uri.*` */
export function expandTemplate(
  families: FamilyRegistry,
  target: string | InstanceUris,
  names: TemplateNames,
): InstanceUris {
  const fill = (text: string) =>
    text.replace(placeholder, (whole, name: string) =>
      name === 'cluster' || name === 'member' || name === 'host' ? names[name] : whole,
    );
  if (typeof target === 'string') return families.expand(fill(target));
  const { log, meta, snapshot, groupId } = target;
  return {
    log: fill(log),
    meta: fill(meta),
    snapshot: fill(snapshot),
    ...(groupId !== undefined && { groupId: fill(groupId) }),
  };
}

function textsOf(target: string | InstanceUris): string[] {
  if (typeof target === 'string') return [target];
  return [target.log, target.meta, target.snapshot, target.groupId ?? ''];
}

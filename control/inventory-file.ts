/**
 * Inventory and policy files, read and checked whole: what their schemas say, and what only shows
 * when clusters and machines are seen together. Short URIs are expanded by the families.
 */
import { fail, QuorumshiftError, type ErrorCode, messageOf } from '../core/errors.ts';
import { inventorySchema, type Inventory, type InventoryCluster } from '../schemas/inventory.ts';
import { rolloutPolicySchema, type RolloutPolicy } from '../schemas/rollout-policy.ts';
import type { InstanceUris } from '../storage/contracts.ts';
import type { FamilyRegistry } from '../storage/family-registry.ts';
import { MachinePlaces } from './machine-places.ts';
import { expandTemplate, unknownPlaceholder } from './target-template.ts';
import { checkYaml, readText, type FileProblem, type YamlFile } from './yaml-file.ts';

export interface DeclaredMember {
  readonly member: string;
  readonly host: string;
  /** Null: whichever agent answers under the host's name. */
  readonly agentId: string | null;
  readonly raftId: string;
  readonly source: InstanceUris;
  /** Members of one machine with the same one stop together. */
  readonly process: string | null;
}

export interface DeclaredCluster {
  readonly cluster: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly members: readonly DeclaredMember[];
}

/** An inventory with everything filled in; clusters and members in the order of the file. */
export interface DeclaredInventory {
  readonly version: 1;
  readonly clusters: readonly DeclaredCluster[];
}

export type CheckedInventory =
  | {
      readonly ok: true;
      readonly inventory: DeclaredInventory;
      /** As it says itself, nothing filled in. */
      readonly given: Inventory;
    }
  | { readonly ok: false; readonly problems: readonly FileProblem[] };

export type CheckedPolicy =
  | { readonly ok: true; readonly policy: RolloutPolicy }
  | { readonly ok: false; readonly problems: readonly FileProblem[] };

/** Never throws for what the text holds. */
export function checkInventory(families: FamilyRegistry, text: string): CheckedInventory {
  const checked = checkYaml(text, inventorySchema);
  if (!checked.ok) return checked;
  const reading = new InventoryReading(families, checked.value, checked.file);
  const inventory = reading.inventory();
  if (reading.problems.length > 0) return { ok: false, problems: reading.problems };
  return { ok: true, inventory, given: checked.value };
}

/** @throws `inventory.invalid` naming each problem's line, column and path */
export function parseInventory(
  families: FamilyRegistry,
  text: string,
  file: string,
): DeclaredInventory {
  return parseChecked(families, text, file).inventory;
}

function parseChecked(families: FamilyRegistry, text: string, file: string) {
  const checked = checkInventory(families, text);
  if (checked.ok) return checked;
  throw fail('inventory.invalid', { file, problems: problemsText(checked.problems) });
}

/** @throws `inventory.invalid` */
export async function readInventory(
  families: FamilyRegistry,
  path: string,
): Promise<DeclaredInventory> {
  return (await readChecked(families, path)).inventory;
}

/** With what the file says itself. @throws `inventory.invalid` */
export async function readChecked(
  families: FamilyRegistry,
  path: string,
): Promise<Extract<CheckedInventory, { ok: true }>> {
  return parseChecked(families, await textOf(path, 'inventory.invalid'), path);
}

/** Never throws for what the text holds. */
export function checkPolicy(families: FamilyRegistry, text: string): CheckedPolicy {
  const checked = checkYaml(text, rolloutPolicySchema);
  if (!checked.ok) return checked;
  const { value: policy, file } = checked;
  const message = targetFault(families, policy);
  if (message !== null) return { ok: false, problems: [file.problem(['target'], message)] };
  return { ok: true, policy };
}

/** @throws `policy.invalid` naming each problem's line, column and path */
export function parsePolicy(families: FamilyRegistry, text: string, file: string): RolloutPolicy {
  const checked = checkPolicy(families, text);
  if (checked.ok) return checked.policy;
  throw fail('policy.invalid', { file, problems: problemsText(checked.problems) });
}

/** @throws `policy.invalid` */
export async function readPolicy(families: FamilyRegistry, path: string): Promise<RolloutPolicy> {
  return parsePolicy(families, await textOf(path, 'policy.invalid'), path);
}

/** One line for each problem. */
function problemsText(problems: readonly FileProblem[]): string {
  return problems.map(problemText).join('\n  ');
}

export function problemText({ line, column, path, message }: FileProblem): string {
  const where = `line ${line}, column ${column}`;
  return path.length === 0 ? `${where}: ${message}` : `${where}: ${path.join('.')}: ${message}`;
}

async function textOf(
  path: string,
  code: Extract<ErrorCode, 'inventory.invalid' | 'policy.invalid'>,
): Promise<string> {
  try {
    return await readText(path);
  } catch (cause) {
    const reason = messageOf(cause);
    throw fail(code, { file: path, problems: `it cannot be read: ${reason}` }, { cause });
  }
}

/** What is wrong with the policy's target, whatever the clusters; null when nothing is. */
function targetFault(families: FamilyRegistry, { shape, target }: RolloutPolicy): string | null {
  if (target === null) return null;
  if (shape === 'binary') return 'has no meaning for shape "binary": the storage stays; remove it';
  const unknown = unknownPlaceholder(target);
  if (unknown !== null) {
    return `has the unknown placeholder "${unknown}": known are {cluster}, {member} and {host}`;
  }
  const names = { cluster: 'c', member: 'm', host: 'h' };
  return faultOf(() => families.familyOf(expandTemplate(families, target, names)));
}

/** The message of what the families refuse. */
function faultOf(work: () => unknown): string | null {
  try {
    work();
    return null;
  } catch (error) {
    if (error instanceof QuorumshiftError) return error.message;
    throw error;
  }
}

class InventoryReading {
  readonly problems: FileProblem[] = [];
  readonly #families: FamilyRegistry;
  readonly #declared: Inventory;
  readonly #file: YamlFile;
  readonly #places: MachinePlaces;

  constructor(families: FamilyRegistry, declared: Inventory, file: YamlFile) {
    this.#families = families;
    this.#declared = declared;
    this.#file = file;
    this.#places = new MachinePlaces(families);
  }

  inventory(): DeclaredInventory {
    const clusters: DeclaredCluster[] = [];
    for (const [cluster, given] of this.#inOrder(['clusters'], this.#declared.clusters)) {
      clusters.push({
        cluster,
        labels: given.labels,
        members: this.#members(cluster, given),
      });
    }
    return { version: 1, clusters };
  }

  #members(cluster: string, given: InventoryCluster): DeclaredMember[] {
    const ofRaftId = new Map<string, string>();
    const members: DeclaredMember[] = [];
    const path = ['clusters', cluster, 'members'];
    for (const [member, { host, source, raftId = member, process = null }] of this.#inOrder(
      path,
      given.members,
    )) {
      const other = ofRaftId.get(raftId);
      if (other !== undefined) {
        this.#refuse([...path, member], `"${other}" has the raftId "${raftId}" too`);
      }
      ofRaftId.set(raftId, member);
      const agentId = this.#agentOf(host, [...path, member, 'host']);
      const uris = this.#source(source, [...path, member, 'source']);
      if (uris === null) continue;
      this.#take(host, { cluster, member, uris }, [...path, member, 'source']);
      members.push({ member, host, agentId, raftId, source: uris, process });
    }
    return members;
  }

  /** Machines need not be listed; once some are, one that is not is a typing error. */
  #agentOf(host: string, path: readonly string[]): string | null {
    const { machines } = this.#declared;
    const machine = Object.hasOwn(machines, host) ? machines[host] : undefined;
    if (machine === undefined && Object.keys(machines).length > 0) {
      this.#refuse(path, `"${host}" is none of the machines that "machines" lists: add it there`);
    }
    return machine?.agentId ?? null;
  }

  #source(source: string | InstanceUris, path: readonly string[]): InstanceUris | null {
    let uris: InstanceUris | null = null;
    const fault = faultOf(() => {
      uris = typeof source === 'string' ? this.#families.expand(source) : source;
      this.#families.familyOf(uris);
    });
    if (fault !== null) this.#refuse(path, fault);
    return fault === null ? uris : null;
  }

  #take(
    host: string,
    { cluster, member, uris }: { cluster: string; member: string; uris: InstanceUris },
    path: readonly string[],
  ): void {
    const taken = this.#places.take({ host, uris, owner: `${cluster}/${member}` });
    if (taken === null) return;
    this.#refuse(
      path,
      `machine "${host}" has ${taken.owner} at ${taken.place}: name another place`,
    );
  }

  /**
   * As the file has them. A name that JavaScript's objects cannot hold is refused, not lost.
   */
  *#inOrder<Value>(
    path: readonly string[],
    record: Readonly<Record<string, Value>>,
  ): Generator<readonly [string, Value]> {
    for (const name of this.#file.keysAt(path)) {
      const value = Object.hasOwn(record, name) ? record[name] : undefined;
      if (value === undefined) this.#refuse([...path, name], 'this name cannot be used');
      else yield [name, value];
    }
  }

  #refuse(path: readonly string[], message: string): void {
    this.problems.push(this.#file.problem(path, message));
  }
}

/**
 * What the inventory declares against what the agents report that their machines hold. Nothing is
 * guessed: what cannot be compared is said to be so.
 */
import { resolve } from 'node:path';

import type { HostedReplica } from '../activities/contract.ts';
import type { DeclaredInventory, DeclaredMember } from '../control/inventory-file.ts';
import { replicaText } from '../core/ids.ts';
import type { FamilyRegistry } from '../storage/family-registry.ts';
import { parseUri } from '../storage/instance-uris.ts';
import type { Asked } from '../workflows/read-machines.ts';

export interface InventoryDifference {
  readonly kind:
    /** Its primary lies at another place than the declared source. */
    | 'elsewhere'
    /** Another machine has it. */
    | 'other-machine'
    /** A machine has it, the inventory does not. */
    | 'undeclared'
    /** Its record cannot be read. */
    | 'unreadable'
    /** Its machine has no record: it was never migrated, nor served by a storage host. */
    | 'no-record'
    /** Its machine did not answer. */
    | 'unknown';
  readonly replica: string;
  readonly host: string;
  readonly declared: string | null;
  readonly reported: string | null;
  /** What it is doing, where a migration owns it. */
  readonly phase: string | null;
  readonly note: string;
}

/** Kinds that contradict the inventory; the others only leave it unconfirmed. */
const contradictions: readonly InventoryDifference['kind'][] = [
  'elsewhere',
  'other-machine',
  'undeclared',
  'unreadable',
];

export function contradicts({ kind }: InventoryDifference): boolean {
  return contradictions.includes(kind);
}

/** Of the members of `inventory`; machines in `asked` that it does not name are looked at too. */
export function inventoryDifferences(
  families: FamilyRegistry,
  inventory: DeclaredInventory,
  asked: readonly Asked<readonly HostedReplica[]>[],
): InventoryDifference[] {
  const declared = new Map<string, DeclaredMember>();
  for (const { cluster, members } of inventory.clusters) {
    for (const member of members) declared.set(`${cluster}/${member.member}`, member);
  }
  return new Comparison(families, declared, asked).differences();
}

class Comparison {
  readonly #families: FamilyRegistry;
  readonly #declared: ReadonlyMap<string, DeclaredMember>;
  readonly #asked: readonly Asked<readonly HostedReplica[]>[];
  /** By machine, then replica. */
  readonly #reported = new Map<string, Map<string, HostedReplica>>();

  constructor(
    families: FamilyRegistry,
    declared: ReadonlyMap<string, DeclaredMember>,
    asked: readonly Asked<readonly HostedReplica[]>[],
  ) {
    this.#families = families;
    this.#declared = declared;
    this.#asked = asked;
    for (const { host, answer } of asked) {
      if (answer === null) continue;
      const replicas = answer.map((hosted) => [replicaText(hosted.replica), hosted] as const);
      this.#reported.set(host, new Map(replicas));
    }
  }

  differences(): InventoryDifference[] {
    const ofDeclared = [...this.#declared].flatMap(([replica, member]) =>
      this.#ofMember(replica, member),
    );
    return [...ofDeclared, ...this.#undeclared()];
  }

  #ofMember(replica: string, { host, source }: DeclaredMember): InventoryDifference[] {
    const base = { replica, host, declared: source.log, reported: null, phase: null };
    const elsewhere = [...this.#reported].flatMap(([other, replicas]): InventoryDifference[] => {
      const hosted = other === host ? undefined : replicas.get(replica);
      if (hosted?.primary == null) return [];
      const note = `declared on ${host}, ${other} has it too`;
      const { log: reported } = hosted.primary;
      return [{ ...base, kind: 'other-machine', host: other, reported, phase: hosted.phase, note }];
    });
    const here = this.#reported.get(host);
    if (here === undefined) {
      const problem = this.#asked.find((machine) => machine.host === host)?.problem;
      const note = problem ?? 'its machine was not asked';
      return [{ ...base, kind: 'unknown', note }, ...elsewhere];
    }
    const hosted = here.get(replica);
    return [...this.#ofHosted(base, hosted), ...elsewhere];
  }

  #ofHosted(
    base: Omit<InventoryDifference, 'kind' | 'note'>,
    hosted: HostedReplica | undefined,
  ): InventoryDifference[] {
    if (hosted?.problem != null) return [{ ...base, kind: 'unreadable', note: hosted.problem }];
    if (hosted?.primary == null) {
      const note = 'its machine has no record of it: never migrated, nor served by a storage host';
      return [{ ...base, kind: 'no-record', note }];
    }
    const { log: reported } = hosted.primary;
    if (base.declared !== null && this.#samePlace(base.declared, reported)) return [];
    const { phase } = hosted;
    const note = phase === null || phase === 'ended' ? 'it lies there' : `it is in "${phase}"`;
    return [{ ...base, kind: 'elsewhere', reported, phase, note }];
  }

  #undeclared(): InventoryDifference[] {
    const found: InventoryDifference[] = [];
    for (const [host, replicas] of this.#reported) {
      for (const [replica, { primary, phase, problem }] of replicas) {
        if (this.#declared.has(replica)) continue;
        const reported = primary?.log ?? null;
        const note = problem ?? 'the inventory does not name it';
        found.push({ kind: 'undeclared', replica, host, declared: null, reported, phase, note });
      }
    }
    return found;
  }

  /** Of one family, and at one path; as they are written, for families without paths. */
  #samePlace(a: string, b: string): boolean {
    const [left, right] = [parseUri(a), parseUri(b)];
    const family = ({ scheme }: { readonly scheme: string }) =>
      this.#families.families.find(({ schemes }) => schemes.includes(scheme)) ?? scheme;
    if (family(left) !== family(right)) return false;
    if (!left.parameter.startsWith('/')) return left.parameter === right.parameter;
    return resolve(left.parameter) === resolve(right.parameter);
  }
}

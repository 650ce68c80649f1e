/** Which instance lies where on which machine: no two at one place, none inside another. */
import { dirname } from 'node:path';

import type { InstanceUris } from '../storage/contracts.ts';
import type { FamilyRegistry } from '../storage/family-registry.ts';

export interface PlacedInstance {
  readonly host: string;
  readonly uris: InstanceUris;
  /** Who it is, for messages; one owner may take several that overlap. */
  readonly owner: string;
}

export interface TakenPlace {
  readonly owner: string;
  readonly place: string;
}

/** Paths are compared as they are written: what links make of them only the machine knows. */
export class MachinePlaces {
  readonly #families: FamilyRegistry;
  /** By machine and path: whose it is, and whether it is a place or holds one. */
  readonly #paths = new Map<string, { readonly owner: string; readonly isPlace: boolean }>();

  constructor(families: FamilyRegistry) {
    this.#families = families;
  }

  /**
   * Takes the instance's places for it; null, or whose they are already, with nothing taken.
   * @throws `uri.*`
   */
  take({ host, uris, owner }: PlacedInstance): TakenPlace | null {
    const keys = this.#keysOf(uris).map((key) => ({ path: key, at: `${host}\n${key}` }));
    for (const { path, at } of keys) {
      const other = this.#conflict(host, path, at, owner);
      if (other !== null) return { owner: other, place: path };
    }
    for (const { path, at } of keys) {
      this.#paths.set(at, { owner, isPlace: true });
      for (const outer of ancestors(path)) {
        const key = `${host}\n${outer}`;
        if (!this.#paths.has(key)) this.#paths.set(key, { owner, isPlace: false });
      }
    }
    return null;
  }

  #conflict(host: string, path: string, at: string, owner: string): string | null {
    // Same path, or one that holds somebody's place.
    const here = this.#paths.get(at);
    if (here !== undefined && here.owner !== owner) return here.owner;
    for (const outer of ancestors(path)) {
      const around = this.#paths.get(`${host}\n${outer}`);
      if (around?.isPlace === true && around.owner !== owner) return around.owner;
    }
    return null;
  }

  /** Directories of its own; else what tells it from others: its URI, its group in a store. */
  #keysOf(uris: InstanceUris): string[] {
    const places = this.#families.familyOf(uris).places(uris);
    const own = places.filter(({ shared }) => !shared).map(({ path }) => path);
    const shared = places
      .filter((place) => place.shared)
      .map(({ path, role }) => `${role} of group "${uris.groupId ?? ''}" in ${path}`);
    return places.length === 0 ? [uris.log] : [...own, ...shared];
  }
}

function ancestors(path: string): string[] {
  if (!path.startsWith('/')) return [];
  const found: string[] = [];
  for (let outer = dirname(path); outer !== '/'; outer = dirname(outer)) found.push(outer);
  return found;
}

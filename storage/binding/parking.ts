/**
 * Where an instance lies now (CUT-9): at the places its URIs name, or, while it is parked, under
 * names made of them and a tag. Every opening of an instance that a record names goes through here.
 */
import { isDeepStrictEqual } from 'node:util';

import type { InstanceRef } from '../../schemas/binding-record.ts';
import type { InstanceUris } from '../contracts.ts';
import type { FamilyRegistry } from '../family-registry.ts';
import { parkedName } from './path-fence.ts';

/** The URIs under which `ref` can be opened now. */
export function urisNow(families: FamilyRegistry, ref: InstanceRef): InstanceUris {
  return ref.parkedTag === null ? ref.uris : parkedUris(families, ref.uris, ref.parkedTag);
}

export function parkedUris(
  families: FamilyRegistry,
  uris: InstanceUris,
  tag: string,
): InstanceUris {
  return families.familyOf(uris).relocate(uris, (path) => parkedName(path, tag));
}

/** Whether both name one instance, wherever it lies. */
export function isSame(a: InstanceRef, b: InstanceRef): boolean {
  return sameUris(a.uris, b.uris);
}

export function sameUris(a: InstanceUris, b: InstanceUris): boolean {
  return isDeepStrictEqual(a, b);
}

/** Places that the instance has to itself: those that are fenced, parked, moved. */
export function ownPaths(families: FamilyRegistry, uris: InstanceUris): string[] {
  const places = families.familyOf(uris).places(uris);
  return places.filter((place) => !place.shared).map((place) => place.path);
}

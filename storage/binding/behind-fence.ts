/** Where an instance lies whose places are fenced (CUT-9), as the fences themselves say. */
import type { InstanceUris } from '../contracts.ts';
import type { FamilyRegistry } from '../family-registry.ts';
import { readFence } from '../fence-text.ts';
import type { FileLayer } from '../file-layer.ts';
import { ownPaths } from './parking.ts';

/**
 * The URIs under which it can be opened now; as given where no fence stands. Null where a fence
 * says that it was deleted.
 */
export async function urisBehindFences(
  { files, families }: { readonly files: FileLayer; readonly families: FamilyRegistry },
  uris: InstanceUris,
): Promise<InstanceUris | null> {
  const lies = new Map<string, string>();
  for (const path of ownPaths(families, uris)) {
    const fence = await readFence(files, path);
    if (fence === null) continue;
    if (fence.holds === 'deleted') return null;
    lies.set(path, fence.parked);
  }
  return families.familyOf(uris).relocate(uris, (path) => lies.get(path) ?? path);
}

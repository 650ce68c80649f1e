/**
 * Removes the fences of a place that nothing needs any more: those that a rolled-back migration
 * left at its target. While they are removed no record on the machine can come to name the place.
 */
import { fail } from '../../core/errors.ts';
import { parseReplica } from '../../core/ids.ts';
import type { InstanceUris } from '../contracts.ts';
import type { FamilyRegistry } from '../family-registry.ts';
import type { Fence } from '../fence-text.ts';
import type { FileLayer } from '../file-layer.ts';
import { lookAt, removeDraft, removeFence } from './fence-file.ts';
import { readJournal } from './journal.ts';
import { namingAlone, requireUnnamed } from './named-instances.ts';
import { importOwner } from './offline-import.ts';
import { ownPaths } from './parking.ts';
import { replicaDirectory } from './replica-directory.ts';

export interface FencedPlace {
  readonly families: FamilyRegistry;
  readonly files: FileLayer;
  readonly stateDir: string;
  readonly uris: InstanceUris;
}

/**
 * Answers the paths whose fences are gone now; none where none stood. Repeatable after a crash.
 * @throws `instance.named-by-record`; `fence.needed` where data lies behind a fence, an import is
 *   under way, or a finalized migration left it: nothing is removed then; `instance.locked`
 */
export async function discardFences(place: FencedPlace): Promise<readonly string[]> {
  const { families, files, stateDir, uris } = place;
  return namingAlone(files, stateDir, async () => {
    await requireUnnamed(place);
    const fences = [];
    for (const path of ownPaths(families, uris)) {
      const found = await lookAt(files, path);
      if (found.kind !== 'fence') continue;
      const actual = await whyNeeded(place, found.fence);
      if (actual !== null) throw fail('fence.needed', { path, actual });
      fences.push({ path, parked: found.fence.parked });
    }
    for (const { path, parked } of fences) {
      await removeDraft(files, parked);
      await removeFence(files, path);
    }
    return fences.map(({ path }) => path);
  });
}

async function whyNeeded(place: FencedPlace, fence: Fence): Promise<string | null> {
  const { files } = place;
  const { replica, migration, parked } = fence;
  if (migration === importOwner.migration) {
    return 'an import has not ended: import again to complete it, or "import --discard"';
  }
  if ((await files.stat(parked)) !== null) return `${parked} is there`;
  if ((await resultOf(place, fence)) !== 'finalized') return null;
  return `${migration} was finalized: whoever is still configured with what ${replica} was on would start empty, and forget its votes`;
}

/** How the migration of a fence ended, as far as this machine knows. */
async function resultOf(
  { files, stateDir }: FencedPlace,
  { replica, migration }: Fence,
): Promise<unknown> {
  const { journal } = replicaDirectory(stateDir, parseReplica(replica));
  const lines = await readJournal(files, journal);
  return lines.findLast(
    (line) => line['event'] === 'ended' && line['endedMigration'] === migration,
  )?.['result'];
}

/**
 * An import without a migration: the target's places are reserved by fences, the state is staged
 * and published under parked names beside them, then admitted, the last place making the instance.
 * At no moment can a process open half of it, or start empty at a place that is about to be filled.
 *
 * An interrupted one is resumed by calling it again, or given up by {@link discardImport}.
 */
import { fail } from '../../core/errors.ts';
import type { InstanceUris, StagingInstance } from '../contracts.ts';
import type { FamilyRegistry } from '../family-registry.ts';
import type { FileLayer } from '../file-layer.ts';
import { requireWhole } from '../image/copy-state.ts';
import { hasCode } from '../../core/errors.ts';
import { readFence, removeFence } from './fence-file.ts';
import { ownPaths, parkedUris } from './parking.ts';
import {
  moveToTrash,
  parkedName,
  removeTrash,
  reservePath,
  trashName,
  unfencePath,
} from './path-fence.ts';

/** One import at a time into one place, so one tag. */
const importTag = 'import';

const owner = { replica: 'none', migration: 'import' };

export interface OfflineTarget {
  readonly families: FamilyRegistry;
  readonly files: FileLayer;
  readonly uris: InstanceUris;
}

/**
 * Fills the target by `fill` and makes it an instance.
 * @throws `instance.not-empty`, `instance.locked`, and what `fill` throws: the place stays staged
 * then
 */
export async function importOffline(
  target: OfflineTarget,
  fill: (staging: StagingInstance) => Promise<void>,
): Promise<void> {
  const { families, files, uris } = target;
  const paths = ownPaths(families, uris);
  await requireEmpty(target);
  for (const path of paths) {
    await reservePath(files, { path, parked: parkedName(path, importTag) }, owner);
  }
  const staged = parkedUris(families, uris, importTag);
  if (!(await isPublished(target, staged))) {
    await withStaging(target, staged, fill);
    // Opened again: what is published is what the last checkpoint says, read back from disk.
    await withStaging(target, staged, async (staging) => {
      requireWhole(staging);
      await staging.publish();
    });
  }
  for (const path of paths) {
    const place = { path, parked: parkedName(path, importTag) };
    await unfencePath(files, place);
    await removeFence(files, place.parked);
  }
}

/** Removes what an interrupted import left; touches nothing else. */
export async function discardImport(target: OfflineTarget): Promise<void> {
  const { families, files, uris } = target;
  for (const path of ownPaths(families, uris)) {
    const parked = parkedName(path, importTag);
    const trash = trashName(parked, 'discarded');
    await removeTrash(files, trash);
    await moveToTrash(files, { parked, trash });
    await removeTrash(files, trash);
    if ((await readFence(files, path))?.migration === owner.migration)
      await removeFence(files, path);
  }
}

async function requireEmpty({ families, files, uris }: OfflineTarget): Promise<void> {
  const actual = await families.familyOf(uris).occupied(uris, { files });
  if (actual === null) return;
  throw fail('instance.not-empty', { action: 'import into', instance: uris.log, actual });
}

async function withStaging(
  { families, files }: OfflineTarget,
  staged: InstanceUris,
  work: (staging: StagingInstance) => Promise<void>,
): Promise<void> {
  const staging = await families.stage(staged, { files });
  try {
    await work(staging);
  } finally {
    await staging.close();
  }
}

async function isPublished(target: OfflineTarget, staged: InstanceUris): Promise<boolean> {
  try {
    const { families, files } = target;
    await (await families.open(staged, 'read-only', { files })).close();
    return true;
  } catch (error) {
    if (hasCode(error, 'instance.staging') || hasCode(error, 'instance.missing')) return false;
    throw error;
  }
}

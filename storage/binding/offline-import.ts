/**
 * An import without a migration: the target's places are reserved by fences, the state is staged
 * and published under parked names beside them, then admitted, the last place making the instance.
 * At no moment can a process open half of it, or start empty at a place that is about to be filled.
 *
 * An interrupted one is resumed by calling it again, or given up by {@link discardImport}.
 */
import { fail, hasCode } from '../../core/errors.ts';
import type { InstanceUris, StagingInstance } from '../contracts.ts';
import type { FamilyRegistry } from '../family-registry.ts';
import type { FileLayer } from '../file-layer.ts';
import { requireWhole } from '../image/copy-state.ts';
import { lookAt, removeDraft, removeFence } from './fence-file.ts';
import { requireSeparate } from './fence-obstacles.ts';
import { readFence, refuseFenced } from '../fence-text.ts';
import { lockInstance } from '../instance-lock.ts';
import { parkedUris } from './parking.ts';
import {
  moveToTrash,
  parkedName,
  removeTrash,
  reservePath,
  trashName,
  unfencePath,
  type FencedPath,
} from './path-fence.ts';

/** One import at a time into one place, so one tag. */
const importTag = 'import';

/** What an import's fences say. */
export const importOwner = { replica: 'none', migration: 'import' };

export interface OfflineTarget {
  readonly families: FamilyRegistry;
  readonly files: FileLayer;
  readonly uris: InstanceUris;
}

/**
 * Fills the target by `fill` and makes it an instance. Answers `completed` when an earlier import
 * had published it already: `fill` was not called, and what is there is that import's.
 * @throws `instance.not-empty`, `instance.locked`, `uri.invalid` where the places are not apart,
 *   and what `fill` throws: the place stays staged then
 */
export async function importOffline(
  target: OfflineTarget,
  fill: (staging: StagingInstance) => Promise<void>,
): Promise<'imported' | 'completed'> {
  const { files } = target;
  const places = importPlaces(target);
  const before = await admission(target);
  if (before !== 'none') {
    await holding(target, 'complete the import into', () => admit(target, places));
    return 'completed';
  }
  const paths = places.map(({ path }) => path);
  await requireNoMigration(target, paths);
  await requireSeparate(files, paths);
  await requireEmpty(target);
  for (const place of places) await reservePath(files, place, importOwner);
  return holding(target, 'import into', () => stageAndAdmit(target, fill));
}

async function stageAndAdmit(
  target: OfflineTarget,
  fill: (staging: StagingInstance) => Promise<void>,
): Promise<'imported' | 'completed'> {
  const { families, uris } = target;
  const staged = parkedUris(families, uris, importTag);
  const published = await isPublished(target, staged);
  if (!published) {
    await withStaging(target, staged, fill);
    // Opened again: what is published is what the last checkpoint says, read back from disk.
    await withStaging(target, staged, async (staging) => {
      requireWhole(staging);
      await staging.publish();
    });
  }
  await admit(target, importPlaces(target));
  return published ? 'completed' : 'imported';
}

/**
 * Runs `work` while no other import or discard works at these places: by a lock on the fence of the
 * log's place, which stands from before anything is staged until it has been admitted, last. A
 * target without that fence has nothing that is being imported.
 * @throws `instance.locked`, naming the holder
 */
async function holding<T>(
  target: OfflineTarget,
  action: string,
  work: () => Promise<T>,
): Promise<T> {
  const { files, uris } = target;
  const path = importPlaces(target).at(-1)?.path;
  if (path === undefined || !(await isImportFence(files, path))) return work();
  const lock = await lockInstance(files, { instance: uris.log, path, kind: 'exclusive', action });
  try {
    return await work();
  } finally {
    await lock.release();
  }
}

/**
 * Removes what an interrupted import left, and touches nothing else; answers whether there was any.
 * @throws `instance.not-empty` once it has been published and is being admitted, `instance.locked`
 *   while an import is under way
 */
export async function discardImport(target: OfflineTarget): Promise<boolean> {
  return holding(target, 'discard the import into', () => discardHeld(target));
}

async function discardHeld(target: OfflineTarget): Promise<boolean> {
  const { files, uris } = target;
  if ((await admission(target)) !== 'none') {
    throw fail('instance.not-empty', {
      action: 'discard the import into',
      instance: uris.log,
      actual: 'it is whole and partly in place; the same import completes it',
    });
  }
  let found = false;
  const places = importPlaces(target);
  await requireNoMigration(
    target,
    places.map(({ path }) => path),
  );
  for (const { path, parked } of places) {
    const trash = trashName(parked, 'discarded');
    await removeTrash(files, trash);
    await removeDraft(files, parked);
    const left = await lookAt(files, parked);
    found ||= left.kind !== 'absent';
    if (left.kind === 'fence') await removeFence(files, parked);
    else await moveToTrash(files, { parked, trash });
    await removeTrash(files, trash);
    if (!(await isImportFence(files, path))) continue;
    found = true;
    await removeFence(files, path);
  }
  return found;
}

/** The log's place last: while one of the others is fenced, no node starts. */
function importPlaces({ families, uris }: OfflineTarget): FencedPath[] {
  const places = families
    .familyOf(uris)
    .places(uris)
    .filter((place) => !place.shared);
  const ordered = places.toSorted((a, b) => Number(a.role === 'log') - Number(b.role === 'log'));
  return ordered.map(({ path }) => ({ path, parked: parkedName(path, importTag) }));
}

/**
 * Whether the places of a published import have begun to be admitted. After an exchange the fence
 * lies at the parked name, behind a directory; a place still to come has its directory parked
 * behind its fence. While places are being reserved neither is so: nothing is parked yet.
 */
async function admission(target: OfflineTarget): Promise<'none' | 'begun'> {
  const { files } = target;
  let admitted = 0;
  let exchanged = 0;
  let waiting = 0;
  for (const { path, parked } of importPlaces(target)) {
    const isDirectory = (await lookAt(files, path)).kind === 'directory';
    const behind = await lookAt(files, parked);
    if (isDirectory) admitted += 1;
    if (isDirectory && (await isImportFence(files, parked))) exchanged += 1;
    if ((await isImportFence(files, path)) && behind.kind === 'directory') waiting += 1;
  }
  return exchanged > 0 || (admitted > 0 && waiting > 0) ? 'begun' : 'none';
}

async function isImportFence(files: FileLayer, path: string): Promise<boolean> {
  return (await readFence(files, path))?.migration === importOwner.migration;
}

async function admit({ files }: OfflineTarget, places: readonly FencedPath[]): Promise<void> {
  for (const place of places) {
    await unfencePath(files, place);
    await removeFence(files, place.parked);
  }
}

/** @throws `instance.fenced` where a migration's fence stands, its own or one that it left */
async function requireNoMigration(
  { files, uris }: OfflineTarget,
  paths: readonly string[],
): Promise<void> {
  for (const path of paths) {
    const isImport = await isImportFence(files, path);
    if (!isImport) await refuseFenced(files, { instance: uris.log, path });
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

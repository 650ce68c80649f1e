/** What lies at the places of an instance, before anything is opened. */
import { fail } from '../../../core/errors.ts';
import type { FileLayer, FileStat } from '../../file-layer.ts';
import { readFence, refuseFenced } from '../../fence-text.ts';
import { stagingMarkerName } from '../../staging-marker.ts';
import { readMergedMeta } from './merged-meta.ts';
import type { LocalPlaces } from './places.ts';
import { logMetaName } from './segment-name.ts';

/** Left over when making an instance or a staging place was interrupted before it was one. */
const meaningless = new Set([`${stagingMarkerName}.tmp`, `${logMetaName}.tmp`]);

/** As `stat`, of what a symbolic link leads to; rejects with ENOENT where that is nothing. */
export async function followedStat(files: FileLayer, path: string): Promise<FileStat | null> {
  const stat = await files.stat(path);
  return stat?.kind === 'other' ? files.stat(await files.realPath(path)) : stat;
}

/**
 * Whether the directory is there.
 * @throws `instance.fenced`; `data.corrupt` when something else is: braft refuses it
 */
export async function isDirectory(files: FileLayer, path: string): Promise<boolean> {
  const stat = await followedStat(files, path);
  if (stat === null) return false;
  if (stat.kind === 'directory') return true;
  await refuseFenced(files, { instance: path, path });
  throw fail('data.corrupt', { file: path, offset: 0, reason: 'it must be a directory' });
}

async function occupiedPath(files: FileLayer, path: string): Promise<string | null> {
  const stat = await followedStat(files, path);
  if (stat === null) return null;
  if (stat.kind === 'file') {
    return (await readFence(files, path)) === null ? `${path} is a file` : null;
  }
  if (stat.kind !== 'directory') return `${path} is neither file nor directory`;
  const names = (await files.list(path)).filter((name) => !meaningless.has(name));
  if (names.includes(stagingMarkerName)) return `${path} holds an unfinished import`;
  return names.length === 0 ? null : `${path} holds ${names.toSorted().slice(0, 3).join(', ')}`;
}

/** In words; null when every place is absent, an empty directory, or reserved by a fence. */
export async function occupiedPlaces(
  files: FileLayer,
  places: LocalPlaces,
  groupId: string | undefined,
): Promise<string | null> {
  for (const path of [places.log, places.meta.directory, places.snapshot]) {
    const found = path === null ? null : await occupiedPath(files, path);
    if (found !== null) return found;
  }
  const { database } = places.meta;
  if (database === null || groupId === undefined) return null;
  const value = await readMergedMeta(files, database, groupId);
  return value === null ? null : `${database} holds metadata of group ${groupId}`;
}

/**
 * The path fence (CUT-7): while a replica is stopped for a migration, each path that a process may
 * be configured with holds a file instead of the instance, so that no process can open it, nor open
 * it empty. The instance's directory lies beside it under its parked name, and comes back by an
 * atomic exchange of the two names. No byte inside changes.
 *
 * ```
 *              at the path      at the parked name
 *   before     directory        nothing
 *   prepared   directory        fence            (fence file durable before the exchange)
 *   fenced     fence            directory
 *   unfenced   directory        fence            (left until removed; the same as prepared)
 *   reserved   fence            nothing          (a target's path; its parked name fills later)
 * ```
 *
 * An exchange is its own inverse, so each function looks first at what lies at both names, does
 * what is missing, and does nothing when all is done; repeating one, after a crash too, is
 * harmless. Every one syncs the parent even if it found all done: an earlier try may have died just
 * before. Callers hold `record.lock` and have checked their token (OPS-5).
 */
import { basename, dirname } from 'node:path';

import { assert, fail, type QuorumshiftError } from '../../core/errors.ts';
import type { FileLayer } from '../file-layer.ts';
import { isErrno, makeDirectories, removeTree } from '../files.ts';
import { describe, lookAt, writeFence, type AtName } from './fence-file.ts';
import type { Fence } from '../fence-text.ts';
import { requireFenceable } from './fence-obstacles.ts';

export interface FencedPath {
  /** As the process's configuration names it; absolute. */
  readonly path: string;
  /** From {@link parkedName}: in the same directory. */
  readonly parked: string;
}

export interface FenceOwner {
  readonly replica: string;
  readonly migration: string;
}

/**
 * Where the instance of `path` lies while fenced: the path, a mark and `tag`, in the same
 * directory. The tag's characters keep it from any name that braft treats specially (it ends in no
 * `.tmp`).
 */
export function parkedName(path: string, tag: string): string {
  assert(/^[A-Za-z0-9_-]{1,64}$/.test(tag), 'a parking tag is 1 to 64 letters, digits, - and _');
  return `${path}.quorumshift-${tag}`;
}

/** Where `parked` waits for its removal; `unique` must not have been used for it before. */
export function trashName(parked: string, unique: string): string {
  return `${parked}.trash-${unique}`;
}

/**
 * Fences an instance's path: the directory goes to its parked name, the fence stands at the path. A
 * path where nothing is gets a fence alone. Durable when resolved.
 * @throws `fence.unexpected`, `io.exchange-unsupported`
 */
export async function fencePath(
  files: FileLayer,
  place: FencedPath,
  owner: FenceOwner,
): Promise<void> {
  const { path, parked } = place;
  const found = await look(files, place);
  requireOwner(found, owner);
  if (isFenced(found) || isReserved(found, 'nothing')) return files.syncDirectory(dirname(path));
  if (found.path.kind === 'absent' && isFree(found, 'nothing')) {
    await makeDirectories(files, dirname(path));
    return standAt(files, place, { ...owner, parked, holds: 'nothing' });
  }
  if (found.path.kind !== 'directory' || !isFree(found, 'directory')) throw unexpected(found);
  await requireFenceable(files, path);
  await writeFence(files, parked, { ...owner, parked, holds: 'directory' });
  await files.exchange(path, parked);
  await files.syncDirectory(dirname(path));
}

/**
 * Reserves a target's path, where nothing or an empty directory is: the fence stands there,
 * durably, and its parked name is free for the staging place. Missing parents are made.
 * @throws `fence.unexpected` when the path is in use
 */
export async function reservePath(
  files: FileLayer,
  place: FencedPath,
  owner: FenceOwner,
): Promise<void> {
  const { path, parked } = place;
  const found = await look(files, place);
  requireOwner(found, owner);
  if (isFenced(found) || isReserved(found, 'directory')) return files.syncDirectory(dirname(path));
  if (!isFree(found, 'directory')) throw unexpected(found);
  if (found.path.kind === 'directory') {
    await requireFenceable(files, path);
    // Not fenced yet: nothing at the path is no worse than an empty directory.
    await removeEmpty(files, found);
  } else if (found.path.kind !== 'absent') throw unexpected(found);
  await makeDirectories(files, dirname(path));
  await standAt(files, place, { ...owner, parked, holds: 'directory' });
}

/**
 * Puts a parked instance to its path, be it back or, complete, for the first time ("admit"). The
 * fence then lies at the parked name, until `removeFence` there. Durable when resolved.
 * @throws `fence.unexpected`
 */
export async function unfencePath(files: FileLayer, place: FencedPath): Promise<void> {
  const { path, parked } = place;
  const found = await look(files, place);
  if (found.path.kind === 'directory' && (isFree(found, 'directory') || isFree(found, 'nothing'))) {
    return files.syncDirectory(dirname(path));
  }
  if (isReserved(found, 'nothing')) await files.makeDirectory(parked);
  else if (!isFenced(found)) throw unexpected(found);
  // What lies at the parked name must be there for sure before the path names it.
  await files.syncDirectory(dirname(path));
  await files.exchange(path, parked);
  await files.syncDirectory(dirname(path));
}

/**
 * Whether the fencing of a path where nothing was had not come so far that a fence stood there:
 * then nothing is to be undone but what lies at the parked name.
 */
export async function isUntouched(files: FileLayer, place: FencedPath): Promise<boolean> {
  const found = await look(files, place);
  return found.path.kind === 'absent' && isFree(found, 'nothing');
}

/**
 * Takes a parked directory out of the way, durably, under a unique name: the short half of
 * discarding it, under `record.lock`. {@link removeTrash} follows, without the lock.
 * @throws `fence.unexpected` when a fence or a foreign file is there
 */
export async function moveToTrash(
  files: FileLayer,
  { parked, trash }: { parked: string; trash: string },
): Promise<void> {
  const found = await lookAt(files, parked);
  if (found.kind === 'directory') await files.rename(parked, trash);
  else if (found.kind !== 'absent') {
    throw fail('fence.unexpected', { path: parked, actual: `${describe(found)} is at ${parked}` });
  }
  const parent = dirname(parked);
  if ((await files.stat(parent)) !== null) await files.syncDirectory(parent);
}

/** Removes what {@link moveToTrash} put aside; nothing there is as good. */
export async function removeTrash(files: FileLayer, trash: string): Promise<void> {
  assert(/\.trash-[^/]+$/.test(basename(trash)), 'only trash is removed as trash');
  if ((await files.stat(trash)) === null) return;
  // Else a power cut could bring back the parked name, with half of its tree.
  await files.syncDirectory(dirname(trash));
  await removeTree(files, trash);
  await files.syncDirectory(dirname(trash));
}

interface Found {
  readonly place: FencedPath;
  readonly path: AtName;
  readonly parked: AtName;
}

async function look(files: FileLayer, place: FencedPath): Promise<Found> {
  const { path, parked } = place;
  assert(dirname(path) === dirname(parked) && path !== parked, 'a parked name is beside its path');
  return { place, path: await lookAt(files, path), parked: await lookAt(files, parked) };
}

function isFenced({ place, path, parked }: Found): boolean {
  return isOwn(path, place) && parked.kind === 'directory';
}

function isReserved({ place, path, parked }: Found, holds: Fence['holds']): boolean {
  return isOwn(path, place, holds) && parked.kind === 'absent';
}

/** Nothing at the parked name, or the fence that an earlier try or an unfencing left there. */
function isFree({ place, parked }: Found, holds: Fence['holds']): boolean {
  return parked.kind === 'absent' || isOwn(parked, place, holds);
}

/**
 * Two migrations of one id, of two replicas, park under one name: a fence tells whose it is.
 * @throws `fence.unexpected` where one of somebody else's stands at the path
 */
function requireOwner(found: Found, { replica, migration }: FenceOwner): void {
  if (found.path.kind !== 'fence') return;
  const { fence } = found.path;
  if (fence.replica !== replica || fence.migration !== migration) throw unexpected(found);
}

/** Whether it is the fence that belongs between these two names. */
function isOwn(found: AtName, place: FencedPath, holds?: Fence['holds']): boolean {
  if (found.kind !== 'fence' || found.fence.parked !== place.parked) return false;
  return holds === undefined || found.fence.holds === holds;
}

/**
 * The fence appears at a path where nothing was, whole: written at the parked name, then renamed.
 */
async function standAt(files: FileLayer, place: FencedPath, fence: Fence): Promise<void> {
  await writeFence(files, place.parked, fence);
  await files.rename(place.parked, place.path);
  await files.syncDirectory(dirname(place.path));
}

async function removeEmpty(files: FileLayer, found: Found): Promise<void> {
  try {
    await files.removeDirectory(found.place.path);
  } catch (error) {
    if (isErrno(error, 'ENOTEMPTY')) throw unexpected(found);
    throw error;
  }
}

function unexpected({ place, path, parked }: Found): QuorumshiftError {
  const actual = `${describe(path)} is at the path, ${describe(parked)} at ${place.parked}`;
  return fail('fence.unexpected', { path: place.path, actual });
}

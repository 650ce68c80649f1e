/**
 * The file that stands at a fenced path (CUT-7): text for whoever wonders where the data went.
 * braft refuses to open a file at each of its three paths; so does every directory-based engine.
 *
 * Its form is `fence-text.ts`. It lies at the fenced path while the instance is parked, and at the
 * parked name before and after. It is written by way of a draft, whose name is the same for all
 * fences of a place: what a kill left of one is overwritten by the next, or removed with the fence.
 */
import { dirname } from 'node:path';

import { fail } from '../../core/errors.ts';
import type { FileLayer } from '../file-layer.ts';
import { readFence, whereData, type Fence } from '../fence-text.ts';
import { replaceDurably } from '../files.ts';

/** What lies at a name, as far as fencing is concerned. */
export type AtName =
  | { readonly kind: 'absent' }
  | { readonly kind: 'directory' }
  | { readonly kind: 'fence'; readonly fence: Fence }
  | { readonly kind: 'other'; readonly what: string };

/** Puts the fence at `path`, whole or not at all; durable when resolved. */
export async function writeFence(files: FileLayer, path: string, fence: Fence): Promise<void> {
  const { replica, migration, parked, holds } = fence;
  const text = JSON.stringify({
    quorumshift: 'fence',
    replica,
    migration,
    parked,
    holds,
    help: [
      `Migration ${migration} keeps replica ${replica} from starting here: ${whereData(fence)}.`,
      'Do not remove or replace this file, and do not move the data: a replica that starts empty has forgotten its votes.',
      `See "quorumshift status --local ${replica}" for what to do.`,
    ].join(' '),
  });
  const temporary = draftName(parked);
  await replaceDurably(files, { path, temporary }, Buffer.from(`${text}\n`));
}

/** Beside the place of this parked name (`parkedName` of path-fence.ts); no foreign file's name. */
function draftName(parked: string): string {
  const end = parked.lastIndexOf('.quorumshift-');
  return `${end < 0 ? parked : parked.slice(0, end)}.quorumshift-fence.tmp`;
}

/** Removes what a kill left of writing a fence of this place, durably. */
export async function removeDraft(files: FileLayer, parked: string): Promise<void> {
  const draft = draftName(parked);
  if ((await files.stat(draft)) === null) return;
  await files.removeFile(draft);
  await files.syncDirectory(dirname(parked));
}

/** Looks without following a symbolic link at the end. */
export async function lookAt(files: FileLayer, path: string): Promise<AtName> {
  const stat = await files.stat(path);
  if (stat === null) return { kind: 'absent' };
  if (stat.kind === 'directory') return { kind: 'directory' };
  if (stat.kind === 'other') return { kind: 'other', what: 'a symbolic link or special file' };
  const fence = await readFence(files, path);
  return fence === null
    ? { kind: 'other', what: 'a file that is no fence' }
    : { kind: 'fence', fence };
}

/**
 * Removes the fence that is left at a parked name, and its draft, durably; nothing there is as
 * good.
 * @throws `fence.unexpected` when something else is there
 */
export async function removeFence(files: FileLayer, parked: string): Promise<void> {
  const found = await lookAt(files, parked);
  if (found.kind === 'fence') await files.removeFile(parked);
  else if (found.kind !== 'absent') {
    throw fail('fence.unexpected', { path: parked, actual: `${describe(found)} is at ${parked}` });
  }
  await removeDraft(files, parked);
  await files.syncDirectory(dirname(parked));
}

export function describe(found: AtName): string {
  if (found.kind === 'other') return found.what;
  if (found.kind === 'fence') {
    const { migration, replica } = found.fence;
    return `the fence of migration ${migration} of ${replica}`;
  }
  return found.kind === 'absent' ? 'nothing' : 'a directory';
}

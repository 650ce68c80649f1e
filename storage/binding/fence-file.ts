/**
 * The file that stands at a fenced path (CUT-7): text for whoever wonders where the data went.
 * braft refuses to open a file at each of its three paths; so does every directory-based engine.
 *
 * Its form is `fence-text.ts`. It lies at the fenced path while the
 * instance is parked, and at the parked name before and after.
 */
import { dirname } from 'node:path';

import { fail } from '../../core/errors.ts';
import type { FileLayer } from '../file-layer.ts';
import { readFence, type Fence } from '../fence-text.ts';
import { writeDurably } from '../files.ts';

/** What lies at a name, as far as fencing is concerned. */
export type AtName =
  | { readonly kind: 'absent' }
  | { readonly kind: 'directory' }
  | { readonly kind: 'fence'; readonly fence: Fence }
  | { readonly kind: 'other'; readonly what: string };

/** Puts the fence at `path`, whole or not at all; durable when resolved. */
export async function writeFence(files: FileLayer, path: string, fence: Fence): Promise<void> {
  const { replica, migration, parked, holds } = fence;
  const data = holds === 'directory' ? `The data is in ${parked}` : 'There was no data here';
  const text = JSON.stringify({
    quorumshift: 'fence',
    replica,
    migration,
    parked,
    holds,
    help: [
      `Migration ${migration} keeps replica ${replica} from starting here. ${data}.`,
      'Do not remove or replace this file, and do not move the data: a replica that starts empty has forgotten its votes.',
      `See "quorumshift status --local ${replica}" for what to do.`,
    ].join(' '),
  });
  await writeDurably(files, path, Buffer.from(`${text}\n`));
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
 * Removes the fence that is left at a parked name, durably; nothing there is as good.
 * @throws `fence.unexpected` when something else is there
 */
export async function removeFence(files: FileLayer, parked: string): Promise<void> {
  const found = await lookAt(files, parked);
  if (found.kind === 'fence') await files.removeFile(parked);
  else if (found.kind !== 'absent') {
    throw fail('fence.unexpected', { path: parked, actual: `${describe(found)} is at ${parked}` });
  }
  await files.syncDirectory(dirname(parked));
}

export function describe(found: AtName): string {
  if (found.kind === 'other') return found.what;
  if (found.kind === 'fence') return `the fence of migration ${found.fence.migration}`;
  return found.kind === 'absent' ? 'nothing' : 'a directory';
}

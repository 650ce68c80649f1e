/**
 * The file that stands at a fenced path (CUT-7): text for whoever wonders where the data went.
 * braft refuses to open a file at each of its three paths; so does every directory-based engine.
 *
 * It is JSON and begins exactly with `{"quorumshift":"fence"`. It lies at the fenced path while the
 * instance is parked, and at the parked name before and after.
 */
import { dirname } from 'node:path';

import { fail } from '../../core/errors.ts';
import type { FileLayer } from '../file-layer.ts';
import { readWhole, writeDurably } from '../files.ts';

export interface Fence {
  /** `<cluster>/<member>`, for people. */
  readonly replica: string;
  readonly migration: string;
  /** Where the instance lies while the fence stands at its path. */
  readonly parked: string;
  /**
   * `nothing`: the path was absent when it was fenced, as a replica's unused snapshot directory.
   */
  readonly holds: 'directory' | 'nothing';
}

/** What lies at a name, as far as fencing is concerned. */
export type AtName =
  | { readonly kind: 'absent' }
  | { readonly kind: 'directory' }
  | { readonly kind: 'fence'; readonly fence: Fence }
  | { readonly kind: 'other'; readonly what: string };

const opening = '{"quorumshift":"fence"';

/** A fence is a few hundred bytes and two paths of at most 4 KiB each. */
const maxFenceBytes = 64 * 1024;

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

/** The fence at `path`; null when something else or nothing is there. */
export async function readFence(files: FileLayer, path: string): Promise<Fence | null> {
  const found = await lookAt(files, path);
  return found.kind === 'fence' ? found.fence : null;
}

/** Looks without following a symbolic link at the end. */
export async function lookAt(files: FileLayer, path: string): Promise<AtName> {
  const stat = await files.stat(path);
  if (stat === null) return { kind: 'absent' };
  if (stat.kind === 'directory') return { kind: 'directory' };
  if (stat.kind === 'other') return { kind: 'other', what: 'a symbolic link or special file' };
  if (stat.bytes > maxFenceBytes) return { kind: 'other', what: 'a file that is no fence' };
  const text = (await readWhole(files, path, maxFenceBytes))?.toString('utf8') ?? '';
  const fence = parseFence(text);
  return fence === null
    ? { kind: 'other', what: 'a file that is no fence' }
    : { kind: 'fence', fence };
}

function parseFence(text: string): Fence | null {
  if (!text.startsWith(opening)) return null;
  try {
    // Written whole by writeFence alone: its shape is its own.
    const { replica, migration, parked, holds } = JSON.parse(text) as Fence;
    return { replica, migration, parked, holds };
  } catch {
    return null;
  }
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

/**
 * What a fence says: the file that stands at a place whose instance a migration or an import keeps
 * elsewhere (CUT-7). Families tell it from other files; `binding/fence-file.ts` writes it.
 *
 * It is JSON and begins exactly with {@link fenceOpening}.
 */
import { fail } from '../core/errors.ts';
import type { FileLayer } from './file-layer.ts';
import { readWhole } from './files.ts';

export interface Fence {
  /** `<cluster>/<member>`, for people. */
  readonly replica: string;
  readonly migration: string;
  /** Where the instance lies while the fence stands at its path. */
  readonly parked: string;
  /**
   * What the fence stands for. `nothing`: the path was absent when it was fenced, as a replica's
   * unused snapshot directory. `deleted`: its migration was finalized and deleted the source.
   */
  readonly holds: 'directory' | 'nothing' | 'deleted';
}

const fenceOpening = '{"quorumshift":"fence"';

/** A fence is a few hundred bytes and two paths of at most 4 KiB each. */
const maxFenceBytes = 64 * 1024;

/** The fence that is the file at `path`; null for any other file, or none. */
export async function readFence(files: FileLayer, path: string): Promise<Fence | null> {
  const stat = await files.stat(path);
  if (stat?.kind !== 'file' || stat.bytes > maxFenceBytes) return null;
  const text = (await readWhole(files, path, maxFenceBytes))?.toString('utf8') ?? '';
  if (!text.startsWith(fenceOpening)) return null;
  try {
    // Written whole by writeFence alone: its shape is its own.
    const { replica, migration, parked, holds } = JSON.parse(text) as Fence;
    return { replica, migration, parked, holds };
  } catch {
    return null;
  }
}

/** For people. */
export function whereData({ holds, parked }: Pick<Fence, 'holds' | 'parked'>): string {
  if (holds === 'directory') return `the data is in ${parked}`;
  return holds === 'nothing'
    ? 'there was no data here'
    : 'the data here was deleted as it was finalized';
}

/** @throws `instance.fenced` when a fence stands at `path` */
export async function refuseFenced(
  files: FileLayer,
  place: { readonly instance: string; readonly path: string },
): Promise<void> {
  const fence = await readFence(files, place.path);
  if (fence === null) return;
  const { instance, path } = place;
  const { replica, migration } = fence;
  throw fail('instance.fenced', { instance, path, replica, migration, data: whereData(fence) });
}

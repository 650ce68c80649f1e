/**
 * The staging life of on-disk families: a marker file in the instance's first directory says that
 * an import has not ended. It holds the last checkpoint. While it is there the place never opens as
 * an instance (BOOT-4); removing it, durably, is the one step that publishes.
 */
import { join } from 'node:path';

import { fail } from '../core/errors.ts';
import type { StagingProgress } from './contracts.ts';
import type { FileLayer } from './file-layer.ts';
import { isErrno, readWhole, writeDurably } from './files.ts';

/** braft ignores this name in a log directory (no `log_`, no `.tmp`). */
export const stagingMarkerName = 'quorumshift-staging.json';

/** Bound on the marker: a progress note has at most 64 KiB. */
const maxMarkerBytes = 128 * 1024;

/** The marker as stored: int64 as strings. `family` is for people. */
interface StagingMarker {
  readonly format: 'quorumshift-staging/1';
  readonly family: string;
  readonly progress: {
    readonly firstIndex: string;
    readonly lastIndex: string;
    readonly note: Readonly<Record<string, unknown>>;
  } | null;
}

/**
 * The marker in `directory`; undefined when there is none; null progress before the first
 * checkpoint.
 */
export async function readStagingMarker(
  files: FileLayer,
  directory: string,
): Promise<{ progress: StagingProgress | null } | undefined> {
  const path = join(directory, stagingMarkerName);
  const bytes = await readWhole(files, path, maxMarkerBytes);
  if (bytes === null) return undefined;
  const { progress } = parseMarker(path, bytes);
  return {
    progress: progress && {
      firstIndex: BigInt(progress.firstIndex),
      lastIndex: BigInt(progress.lastIndex),
      note: progress.note,
    },
  };
}

function parseMarker(path: string, bytes: Buffer): StagingMarker {
  try {
    // Written whole by writeDurably, by this code alone: its shape is its own.
    const marker = JSON.parse(bytes.toString('utf8')) as StagingMarker;
    if (marker.format === 'quorumshift-staging/1') return marker;
  } catch (cause) {
    throw fail('data.corrupt', { file: path, offset: 0, reason: 'it is no JSON' }, { cause });
  }
  throw fail('data.corrupt', { file: path, offset: 0, reason: 'its format is unknown' });
}

export async function writeStagingMarker(
  files: FileLayer,
  directory: string,
  options: { family: string; progress: StagingProgress | null },
): Promise<void> {
  const { family, progress } = options;
  const marker: StagingMarker = {
    format: 'quorumshift-staging/1',
    family,
    progress: progress && {
      firstIndex: progress.firstIndex.toString(),
      lastIndex: progress.lastIndex.toString(),
      note: progress.note,
    },
  };
  const bytes = Buffer.from(`${JSON.stringify(marker)}\n`);
  await writeDurably(files, join(directory, stagingMarkerName), bytes);
}

/** The publishing step: durable when resolved; doing it twice is doing it once. */
export async function removeStagingMarker(files: FileLayer, directory: string): Promise<void> {
  try {
    await files.removeFile(join(directory, stagingMarkerName));
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  await files.syncDirectory(directory);
}

/** @throws `instance.staging` while the marker is there */
export async function refuseStaging(
  files: FileLayer,
  options: { instance: string; directory: string },
): Promise<void> {
  const marker = await readStagingMarker(files, options.directory);
  if (marker === undefined) return;
  const actual =
    marker.progress === null ? 'no checkpoint yet' : `up to index ${marker.progress.lastIndex}`;
  throw fail('instance.staging', { instance: options.instance, actual });
}

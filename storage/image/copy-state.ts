/**
 * The direct copy of a migration: an instance into a staging place, without an image between. Only
 * what is missing is read from the source after an interruption.
 */
import { fail } from '../../core/errors.ts';
import type { DurableState, Instance, StagingInstance } from '../contracts.ts';
import { entryHash, importNote, importState } from './import-state.ts';
import {
  readState,
  requireUnchanged,
  type TransferOptions,
  type TransferProgress,
} from './state-stream.ts';

export interface CopyOptions extends TransferOptions {
  /** For tests: smaller steps. */
  readonly checkpointBytes?: number;
}

/**
 * Copies the whole durable state of `source` into `staging` and makes it durable there; does not
 * publish. Checkpoints every 256 MiB or 5 s, and continues from the last one.
 * @throws `image.resume-mismatch` when the staging place holds the beginning of another source;
 *   `image.source-changed`, `data.corrupt`, `snapshot.file-missing`, `limit.exceeded`; the signal's
 *   reason
 */
export async function copyState(
  source: Instance,
  staging: StagingInstance,
  options: CopyOptions = {},
): Promise<void> {
  const state = source.state();
  let latest: TransferProgress | null = null;
  const onProgress = (progress: TransferProgress): void => {
    latest = progress;
    options.onProgress?.(progress);
  };
  const keepsSnapshot = (importNote(staging)?.snapshot ?? null) !== null;
  const from = await resumeIndex(source, staging);
  const stream = readState(source, {
    ...options,
    onProgress,
    from,
    passing: true,
    skipSnapshotFiles: keepsSnapshot,
  });
  await importState(stream, {
    staging,
    keepsSnapshot,
    ...(options.checkpointBytes !== undefined && { checkpointBytes: options.checkpointBytes }),
  });
  requireUnchanged(source, state);
  options.onProgress?.(endOf(state, latest));
}

function endOf(state: DurableState, latest: TransferProgress | null): TransferProgress {
  const entries = Number(state.lastIndex - state.firstIndex + 1n);
  const bytesDone = latest?.bytesDone ?? 0;
  return { phase: 'done', entriesDone: entries, entriesTotal: entries, bytesDone };
}

/** The first index to copy, once the last one copied is shown to be the source's. */
async function resumeIndex(source: Instance, staging: StagingInstance): Promise<bigint | null> {
  const { progress } = staging;
  const note = importNote(staging);
  if (progress === null || note === null) return null;
  const { firstIndex, lastIndex } = source.state();
  const within = progress.lastIndex >= firstIndex && progress.lastIndex <= lastIndex;
  if (within && note.lastEntry !== null) {
    for await (const entry of source.read(progress.lastIndex, progress.lastIndex)) {
      if (entryHash(entry) === note.lastEntry) continue;
      throw fail('image.resume-mismatch', {
        action: `copy of "${source.uris.log}"`,
        actual: `its entry ${progress.lastIndex} is not the one that was copied`,
      });
    }
  }
  return progress.lastIndex + 1n;
}

/**
 * Refuses a staging place that does not hold everything yet; call it before publishing.
 * @throws `instance.staging`
 */
export function requireWhole(staging: StagingInstance): void {
  const note = importNote(staging);
  if ((note?.snapshot ?? null) !== null) return;
  const { progress } = staging;
  throw fail('instance.staging', {
    instance: staging.uris.log,
    actual: progress === null ? 'no checkpoint yet' : `up to index ${progress.lastIndex}`,
  });
}

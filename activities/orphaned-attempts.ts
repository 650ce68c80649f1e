/**
 * A killed agent's attempt would be missed only after its heartbeat time-out of 30 s. So each
 * attempt leaves its task token beside the record, and an agent that starts tells Temporal at once
 * that the attempts from before it have died. Told wrongly (an earlier agent is still alive)
 * nothing is lost: the next attempt raises the token of the step, and the other one is superseded.
 */
import { dirname } from 'node:path';

import type { FileLayer } from '../storage/file-layer.ts';
import { isErrno, readWhole, writeDurably } from '../storage/files.ts';
import { knownReplicas } from '../storage/binding/named-instances.ts';
import type { ReplicaDirectory } from '../storage/binding/replica-directory.ts';

/** A task token has some hundred bytes. */
const maxTokenBytes = 64 * 1024;

export async function noteAttempt(
  files: FileLayer,
  directory: ReplicaDirectory,
  taskToken: Uint8Array,
): Promise<void> {
  await writeDurably(files, directory.attempt, taskToken);
}

/**
 * Calls `report` with the token of each attempt that an earlier agent may have left, then forgets
 * it.
 */
export async function reportOrphans(
  files: FileLayer,
  stateDir: string,
  report: (taskToken: Uint8Array) => Promise<void>,
): Promise<void> {
  for (const { directory } of await knownReplicas(files, stateDir)) {
    const token = await readWhole(files, directory.attempt, maxTokenBytes);
    if (token === null || token.length === 0) continue;
    await report(token);
    await forget(files, directory.attempt);
  }
}

async function forget(files: FileLayer, path: string): Promise<void> {
  try {
    await files.removeFile(path);
    await files.syncDirectory(dirname(path));
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}

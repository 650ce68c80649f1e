/**
 * Pause and rate limit of a replica's bulk work (`control.json`): advisory, written by the control
 * activity and the command line, read again and again by whatever runs, in whichever process.
 */
import { z } from 'zod';

import { fail } from '../../core/errors.ts';
import type { FileLayer } from '../file-layer.ts';
import { makeDirectories, readWhole, writeDurably } from '../files.ts';
import type { ReplicaDirectory } from './replica-directory.ts';

const controlSchema = z.strictObject({
  paused: z.boolean(),
  bytesPerSecond: z.number().min(1).nullable(),
});

export type BulkControl = z.infer<typeof controlSchema>;

const maxControlBytes = 4096;

/** @throws `config.invalid` */
export async function readControl(
  files: FileLayer,
  directory: ReplicaDirectory,
): Promise<BulkControl> {
  const bytes = await readWhole(files, directory.control, maxControlBytes);
  if (bytes === null) return { paused: false, bytesPerSecond: null };
  try {
    return controlSchema.parse(JSON.parse(bytes.toString('utf8')));
  } catch (cause) {
    const reason = 'it must be {"paused": boolean, "bytesPerSecond": number or null}';
    throw fail('config.invalid', { file: directory.control, reason }, { cause });
  }
}

export async function writeControl(
  files: FileLayer,
  directory: ReplicaDirectory,
  control: BulkControl,
): Promise<void> {
  await makeDirectories(files, directory.root);
  await writeDurably(files, directory.control, Buffer.from(`${JSON.stringify(control)}\n`));
}

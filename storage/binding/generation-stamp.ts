/**
 * The generation stamp (CUT-2): inside an instance that a migration made, the generation of the
 * record under which it last became primary. It is written after the record and, durably, before
 * the instance is at its path. A stamp newer than the record shows that the record was lost, or
 * that an older one was put back: whoever trusted it could start from state that was left behind.
 *
 * `quorumshift-generation.json` in the instance's first directory; every family ignores the name.
 * Nothing is written into a foreign source (I12).
 */
import { join } from 'node:path';

import { z } from 'zod';

import { fail } from '../../core/errors.ts';
import { replicaText, type ReplicaName } from '../../core/ids.ts';
import type { BindingRecord } from '../../schemas/binding-record.ts';
import type { InstanceUris } from '../contracts.ts';
import type { FamilyRegistry } from '../family-registry.ts';
import type { FileLayer } from '../file-layer.ts';
import { readWhole, writeDurably } from '../files.ts';
import { ownPaths, urisNow } from './parking.ts';

export const generationStampName = 'quorumshift-generation.json';

const stampSchema = z.strictObject({
  format: z.literal('quorumshift-generation/1'),
  /** `<cluster>/<member>` */
  replica: z.string(),
  generation: z.number().int().min(0),
});

export interface GenerationStamp {
  readonly replica: ReplicaName;
  readonly generation: number;
}

/** A stamp is a hundred bytes. */
const maxStampBytes = 4096;

/**
 * The generation in the directory's stamp; null when there is none, or no directory.
 * @throws `data.corrupt`
 */
async function readStamp(
  files: FileLayer,
  directory: string,
): Promise<z.infer<typeof stampSchema> | null> {
  if ((await files.stat(directory))?.kind !== 'directory') return null;
  const file = join(directory, generationStampName);
  const bytes = await readWhole(files, file, maxStampBytes);
  if (bytes === null) return null;
  const parsed = stampSchema.safeParse(parseJson(bytes));
  if (parsed.success) return parsed.data;
  throw fail('data.corrupt', { file, offset: 0, reason: 'it is no generation stamp' });
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

/** Stamps the instance at `directory`, durably; one that is as new stays. */
export async function writeStamp(
  files: FileLayer,
  directory: string,
  stamp: GenerationStamp,
): Promise<void> {
  const replica = replicaText(stamp.replica);
  const { generation } = stamp;
  const present = await readStamp(files, directory);
  if (present?.replica === replica && present.generation >= generation) {
    // Whoever wrote it may have been killed before this.
    return files.syncDirectory(directory);
  }
  const json = JSON.stringify({ format: 'quorumshift-generation/1', replica, generation });
  await writeDurably(files, join(directory, generationStampName), Buffer.from(`${json}\n`));
}

/**
 * Refuses what is newer than the record, at its primary and at the places named, where it may lie.
 * @throws `record.stamp-newer`, `data.corrupt`
 */
export async function requireNotNewer(options: {
  readonly files: FileLayer;
  readonly families: FamilyRegistry;
  readonly replica: ReplicaName;
  readonly record: BindingRecord | null;
  /** Source and target of the migration that is wished for. */
  readonly named: readonly InstanceUris[];
}): Promise<void> {
  const { files, families, replica, record, named } = options;
  const generation = record?.generation ?? 0;
  const primary = record === null ? [] : [urisNow(families, record.primary)];
  for (const uris of [...named, ...primary]) {
    const [directory] = ownPaths(families, uris);
    const stamp = directory === undefined ? null : await readStamp(files, directory);
    if (stamp === null || stamp.replica !== replicaText(replica)) continue;
    if (stamp.generation <= generation) continue;
    throw fail('record.stamp-newer', {
      instance: uris.log,
      stamp: stamp.generation,
      generation,
    });
  }
}

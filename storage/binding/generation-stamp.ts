/**
 * The generation stamp (CUT-2): inside an instance that a migration made, the generation of the
 * record under which it last became primary. It is written after the record and, durably, before
 * the instance is at its path. A stamp newer than the record shows that the record was lost, or
 * that an older one was put back: whoever trusted it could start from state that was left behind.
 *
 * `quorumshift-generation.json` in the instance's first directory; every family ignores the name.
 * Nothing is written into an instance that we did not make (I12): its stamp is a file beside that
 * directory, `<directory>.quorumshift-generation.json`.
 */
import { dirname, join } from 'node:path';

import { z } from 'zod';

import { fail } from '../../core/errors.ts';
import { replicaText, type ReplicaName } from '../../core/ids.ts';
import type { BindingRecord, InstanceRef } from '../../schemas/binding-record.ts';
import type { InstanceUris } from '../contracts.ts';
import type { FamilyRegistry } from '../family-registry.ts';
import type { FileLayer } from '../file-layer.ts';
import { readWhole, writeSynced } from '../files.ts';
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

type Stamp = z.infer<typeof stampSchema>;

/** Inside an instance that we made; beside the directory of a foreign one, which stays as it is. */
type StampPlace = 'inside' | 'beside';

function stampFile(directory: string, place: StampPlace): string {
  return place === 'inside'
    ? join(directory, generationStampName)
    : `${directory}.${generationStampName}`;
}

/**
 * The stamp of the directory at this place; null when there is none, or no directory.
 * @throws `data.corrupt`
 */
async function readStamp(
  files: FileLayer,
  directory: string,
  place: StampPlace,
): Promise<Stamp | null> {
  if ((await files.stat(directory))?.kind !== 'directory') return null;
  const file = stampFile(directory, place);
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

/** The stamp of the instance at `uris`, wherever it is; null without one. @throws `data.corrupt` */
export async function stampOf(place: {
  readonly files: FileLayer;
  readonly families: FamilyRegistry;
  readonly uris: InstanceUris;
}): Promise<{ readonly replica: string; readonly generation: number } | null> {
  const { files, families, uris } = place;
  const [directory] = ownPaths(families, uris);
  if (directory === undefined) return null;
  const inside = await readStamp(files, directory, 'inside');
  return inside ?? readStamp(files, directory, 'beside');
}

/** Stamps the instance that we made at `directory`, durably; one that is as new stays. */
export async function writeStamp(
  files: FileLayer,
  directory: string,
  stamp: GenerationStamp,
): Promise<void> {
  const put = await prepareAt(files, { directory, place: 'inside' }, stamp);
  await put();
}

interface StampOptions {
  readonly files: FileLayer;
  readonly families: FamilyRegistry;
  readonly record: BindingRecord;
  readonly made?: InstanceRef;
}

/**
 * Stamps, durably, what a record names as primary or as mirror in dual write: inside an instance
 * that has its stamp there, or that is said to be just `made`; else beside it.
 */
export async function stampNamed(options: StampOptions): Promise<void> {
  const put = await prepareStamps(options);
  await put();
}

/**
 * The first half of {@link stampNamed}, before the record is there: the stamps' bytes, durably.
 * @returns the second half, after it: gives them their names
 */
export async function prepareStamps(options: StampOptions): Promise<() => Promise<void>> {
  const { files, families, record, made } = options;
  const { replica, generation, primary, mirror } = record;
  const named = mirror?.stage === 'dual' ? [primary, mirror.ref] : [primary];
  const puts = await Promise.all(
    named.map(async (ref) => {
      const [directory] = ownPaths(families, urisNow(families, ref));
      if (directory === undefined) return async () => {};
      const isOurs = ref === made || (await readStamp(files, directory, 'inside')) !== null;
      const place = isOurs ? 'inside' : 'beside';
      return prepareAt(files, { directory, place }, { replica, generation });
    }),
  );
  // Whoever is stopped until then waits for the slower disk, not for both.
  return async () => void (await Promise.all(puts.map((put) => put())));
}

async function prepareAt(
  files: FileLayer,
  { directory, place }: { readonly directory: string; readonly place: StampPlace },
  stamp: GenerationStamp,
): Promise<() => Promise<void>> {
  const replica = replicaText(stamp.replica);
  const { generation } = stamp;
  const file = stampFile(directory, place);
  const present = await readStamp(files, directory, place);
  if (present?.replica === replica && present.generation >= generation) {
    // Whoever wrote it may have been killed before this.
    return () => files.syncDirectory(dirname(file));
  }
  const json = JSON.stringify({ format: 'quorumshift-generation/1', replica, generation });
  const temporary = `${file}.tmp`;
  await writeSynced(files, temporary, Buffer.from(`${json}\n`));
  return async () => {
    await files.rename(temporary, file);
    await files.syncDirectory(dirname(file));
  };
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
    for (const place of ['inside', 'beside'] as const) {
      const stamp = directory === undefined ? null : await readStamp(files, directory, place);
      if (stamp === null || stamp.replica !== replicaText(replica)) continue;
      if (stamp.generation <= generation) continue;
      throw fail('record.stamp-newer', { instance: uris.log, stamp: stamp.generation, generation });
    }
  }
}

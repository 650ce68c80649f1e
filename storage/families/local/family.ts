/**
 * The `local` family: braft's on-disk format, as braft (baidu/braft, master of October 2024) writes
 * and reads it. Files of our own lie beside braft's under names that braft ignores.
 */
import { join } from 'node:path';

import { fail } from '../../../core/errors.ts';
import type {
  Family,
  FamilyLimits,
  Instance,
  InstanceUris,
  OpenContext,
  OpenMode,
  StagingInstance,
} from '../../contracts.ts';
import type { FileLayer } from '../../file-layer.ts';
import { makeDirectories } from '../../files.ts';
import { lockInstance } from '../../instance-lock.ts';
import { readStagingMarker, refuseStaging, writeStagingMarker } from '../../staging-marker.ts';
import { openForWriting, openReadOnly, type OpenLocalOptions } from './engine.ts';
import { encodeLogMeta } from './messages.ts';
import { votedForProblem } from '../../braft-payloads/peer-id.ts';
import { MergedMeta, readMergedMeta } from './merged-meta.ts';
import { isDirectory, occupiedPlaces } from './place-state.ts';
import {
  expandLocal,
  instancePlaces,
  localPlaces,
  localScheme,
  mergedScheme,
  mixedScheme,
  relocateLocal,
  type LocalPlaces,
} from './places.ts';
import { writeProtobufFile } from './protobuf-file.ts';
import { logMetaName } from './segment-name.ts';
import { defaultMaxSegmentBytes } from './segment-run.ts';
import { localPathProblem } from './snapshot-place.ts';
import { LocalStaging } from './staging.ts';

const familyName = 'local';

export const localLimits: FamilyLimits = {
  minIndex: 1n,
  // The empty log behind the last one still needs an int64.
  maxIndex: 2n ** 63n - 2n,
  // A length is 32-bit; one Buffer holds an entry, and batches have 32-bit offsets.
  maxPayloadBytes: 2 ** 30,
  noOpPayload: false,
  votedFor: votedForProblem,
  path: localPathProblem,
};

/** @param options.maxSegmentBytes braft's `raft_max_segment_size` */
export function createLocalFamily(options: { readonly maxSegmentBytes: number }): Family {
  return {
    name: familyName,
    schemes: [localScheme, mergedScheme, mixedScheme],
    formatVersion: 'braft-1',
    limits: localLimits,
    expand: expandLocal,
    places: instancePlaces,
    relocate: relocateLocal,
    open: (uris, mode, context) => openLocal(uris, { ...options, mode, context }),
    stage: (uris, context) => stageLocal(uris, { ...options, context }),
    occupied: (uris, { files }) => occupiedPlaces(files, localPlaces(uris), uris.groupId),
    withdraw: withdrawMeta,
  };
}

/** braft's format with braft's default size of segments. */
export const localFamily: Family = createLocalFamily({ maxSegmentBytes: defaultMaxSegmentBytes });

interface OpenHow {
  readonly maxSegmentBytes: number;
  readonly context: OpenContext;
}

async function openLocal(uris: InstanceUris, how: OpenHow & { mode: OpenMode }): Promise<Instance> {
  const { files } = how.context;
  const places = localPlaces(uris);
  const readOnly = how.mode === 'read-only';
  if (!readOnly) refuseMixed(uris, places);
  if (how.mode === 'create') await prepareDirectories(files, { uris, places, action: 'create' });
  await requireLogDirectory(files, uris, places);
  return holding({ uris, places, how, shared: readOnly, action: 'open' }, async (options) => {
    await refuseStaging(files, { instance: uris.log, directory: places.log });
    if (how.mode === 'create') await createEmpty(options);
    const defersClosed = how.context.readsAll === true;
    return readOnly ? openReadOnly({ ...options, defersClosed }) : openForWriting(options);
  });
}

/** The group's key of a LevelDB that groups share; the other groups' stay. */
async function withdrawMeta(uris: InstanceUris, { files }: OpenContext): Promise<void> {
  const { database } = localPlaces(uris).meta;
  const { groupId } = uris;
  if (database === null || groupId === undefined) return;
  if ((await readMergedMeta(files, database, groupId)) === null) return;
  const merged = await MergedMeta.open(database, groupId);
  try {
    await merged.remove();
  } finally {
    await merged.close();
  }
}

function refuseMixed(uris: InstanceUris, places: LocalPlaces): void {
  if (places.meta.kind !== 'mixed') return;
  throw fail('uri.invalid', { uri: uris.meta, reason: `${mixedScheme} can only be read` });
}

async function requireLogDirectory(
  files: FileLayer,
  uris: InstanceUris,
  places: LocalPlaces,
): Promise<void> {
  if (await isDirectory(files, places.log)) return;
  throw fail('instance.missing', { instance: uris.log, actual: `${places.log} does not exist` });
}

async function prepareDirectories(
  files: FileLayer,
  target: { uris: InstanceUris; places: LocalPlaces; action: string },
): Promise<void> {
  const { uris, places, action } = target;
  await requireEmpty(files, { uris, places, action });
  const { meta } = places;
  for (const path of [places.log, meta.directory, meta.database, places.snapshot]) {
    if (path !== null) await makeDirectories(files, path);
  }
}

async function requireEmpty(
  files: FileLayer,
  target: { uris: InstanceUris; places: LocalPlaces; action: string },
): Promise<void> {
  const { uris, places, action } = target;
  const actual = await occupiedPlaces(files, places, uris.groupId);
  if (actual !== null) throw fail('instance.not-empty', { action, instance: uris.log, actual });
}

/** Runs `use` under the instance's lock, which it takes over when it succeeds. */
async function holding<Held>(
  target: {
    uris: InstanceUris;
    places: LocalPlaces;
    how: OpenHow;
    shared: boolean;
    action: string;
  },
  use: (options: OpenLocalOptions) => Promise<Held>,
): Promise<Held> {
  const { uris, places, how, shared, action } = target;
  const { files } = how.context;
  const kind = shared ? 'shared' : 'exclusive';
  const lock = await lockInstance(files, { instance: uris.log, path: places.log, kind, action });
  const { maxSegmentBytes } = how;
  const release = () => lock.release();
  const common = { family: familyName, limits: localLimits, maxSegmentBytes, release };
  try {
    return await use({ files, uris, places, ...common });
  } catch (error) {
    await release();
    throw error;
  }
}

/** `log_meta` is what makes a log directory an instance, for braft too. */
async function createEmpty({ files, uris, places }: OpenLocalOptions): Promise<void> {
  await requireEmpty(files, { uris, places, action: 'create' });
  const { minIndex } = localLimits;
  await writeProtobufFile(files, join(places.log, logMetaName), encodeLogMeta(minIndex));
}

async function stageLocal(uris: InstanceUris, how: OpenHow): Promise<StagingInstance> {
  const { files } = how.context;
  const places = localPlaces(uris);
  const action = 'import into';
  refuseMixed(uris, places);
  const present = (await files.stat(places.log))?.kind === 'directory';
  const resumes = present && (await readStagingMarker(files, places.log)) !== undefined;
  if (!resumes) await prepareDirectories(files, { uris, places, action });
  return holding({ uris, places, how, shared: false, action }, async (options) => {
    const marker = await readStagingMarker(files, places.log);
    if (marker === undefined) {
      await requireEmpty(files, { uris, places, action });
      await writeStagingMarker(files, places.log, { family: familyName, progress: null });
    }
    return LocalStaging.resume(options, marker?.progress ?? null);
  });
}

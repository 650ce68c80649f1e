/**
 * Names the mirror to be of a replica in its record. Nothing is copied yet; what is refused leaves
 * everything as it was.
 */
import { dirname } from 'node:path';

import { fail } from '../core/errors.ts';
import { replicaText } from '../core/ids.ts';
import type { BindingRecord, MirrorState } from '../schemas/binding-record.ts';
import { writeFence } from '../storage/binding/fence-file.ts';
import { requireFenceable, requireSeparate } from '../storage/binding/fence-obstacles.ts';
import { namingAlone, requireUnnamed } from '../storage/binding/named-instances.ts';
import { ownPaths, sameUris, urisNow } from '../storage/binding/parking.ts';
import type { RecordStore } from '../storage/binding/record-store.ts';
import { requireCaller } from '../storage/binding/step-guard.ts';
import type { InstanceUris } from '../storage/contracts.ts';
import type { FamilyRegistry } from '../storage/family-registry.ts';
import { readFence, type Fence } from '../storage/fence-text.ts';
import { conflict, presentOf, type Caller } from './mirror-caller.ts';

export interface NamingOptions {
  readonly families: FamilyRegistry;
  readonly store: RecordStore;
  readonly stateDir: string;
}

/**
 * Done already is as good. Fences that an ended migration of this replica left at the places go.
 * @throws `record.conflict`, `record.superseded`, `instance.not-empty`, `instance.named-by-record`,
 *   `uri.invalid`, `fence.unexpected`
 */
export async function nameMirror(
  options: NamingOptions,
  uris: InstanceUris,
  caller: Caller,
): Promise<void> {
  const { store, stateDir } = options;
  await store.locked(async ({ record, write, confirm }) => {
    const current = presentOf(store, record);
    requireCaller(current, caller.claim);
    if (current.mirror !== null) {
      const { ref } = current.mirror;
      if (sameUris(ref.uris, uris)) return confirm();
      throw conflict(store, 'bootstrap', `${ref.uris.log} is its mirror already`);
    }
    await namingAlone(store.files, stateDir, async () => {
      await requireFree(options, current, uris);
      await takePlaces(options, uris);
      const ref = { uris, parkedTag: null };
      const mirror: MirrorState = { ref, stage: 'bootstrapping', wasPrimary: false, window: null };
      const next = { ...current, mirror, generation: current.generation + 1 };
      const audit = { event: 'mirror-begin', by: caller.by, details: { mirror: uris } };
      await write({ next, audit });
    });
  });
}

/** Nobody else names the places, and they can be fenced when the mirror is left. */
async function requireFree(
  { families, store, stateDir }: NamingOptions,
  { primary, former }: BindingRecord,
  uris: InstanceUris,
): Promise<void> {
  const { files, replica } = store;
  if (former !== null) {
    const { ref, why } = former;
    throw conflict(store, 'bootstrap', `${ref.uris.log} was left (${why}): drop it first`);
  }
  await requireUnnamed({ families, files, stateDir, uris, except: replica });
  const places = ownPaths(families, uris);
  const sources = ownPaths(families, urisNow(families, primary));
  await requireSeparate(files, [...sources, ...places]);
  const unfenced = [];
  for (const path of places) {
    if ((await endedFence(store, path)) === null) unfenced.push(path);
  }
  for (const path of [...sources, ...unfenced]) await requireFenceable(files, path);
}

/** Nothing is at the places but fences of ours, which are removed: or they stand as before. */
async function takePlaces({ families, store }: NamingOptions, uris: InstanceUris): Promise<void> {
  const { files } = store;
  const removed: (readonly [string, Fence])[] = [];
  for (const path of ownPaths(families, uris)) {
    const fence = await endedFence(store, path);
    if (fence === null) continue;
    removed.push([path, fence]);
    await files.removeFile(path);
    await files.syncDirectory(dirname(path));
  }
  const actual = await families.familyOf(uris).occupied(uris, { files });
  if (actual === null) return;
  for (const [path, fence] of removed) await writeFence(files, path, fence);
  throw fail('instance.not-empty', { action: 'bootstrap into', instance: uris.log, actual });
}

/** A fence whose migration of this replica has ended: its record names nothing there any more. */
async function endedFence({ files, replica }: RecordStore, path: string): Promise<Fence | null> {
  const fence = await readFence(files, path);
  return fence?.replica === replicaText(replica) ? fence : null;
}

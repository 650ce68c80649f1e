/**
 * Puts away what was a mirror, as the record says (CUT-8): the record comes first and names it, so
 * that whoever opens the replica next completes what a crash cut off. Each function looks first and
 * does what is missing.
 */
import { dirname } from 'node:path';

import { replicaText } from '../../core/ids.ts';
import type { FormerMirror } from '../../schemas/binding-record.ts';
import type { InstanceUris } from '../contracts.ts';
import type { FamilyRegistry } from '../family-registry.ts';
import { readFence } from '../fence-text.ts';
import type { FileLayer } from '../file-layer.ts';
import { writeFence } from './fence-file.ts';
import { ownPaths, urisNow } from './parking.ts';
import { fencePath, moveToTrash, parkedName, removeTrash, trashName } from './path-fence.ts';
import type { RecordStore } from './record-store.ts';

interface Places {
  readonly files: FileLayer;
  readonly families: FamilyRegistry;
}

/**
 * Retires or deletes what the record names as former, then clears the name; one that is to be kept
 * stays. Nothing may have it open.
 * @returns where it lies now, by place; empty when it was deleted or there was none
 */
export async function settleFormer(
  store: RecordStore,
  families: FamilyRegistry,
  by: string,
): Promise<string[]> {
  const former = (await store.read())?.former ?? null;
  if (former === null || former.next === 'keep') return [];
  const places = { files: store.files, families };
  const { uris } = former.ref;
  if (former.next === 'delete') {
    await store.locked(async () => families.familyOf(uris).withdraw?.(uris, places));
  }
  const lies = former.wasPrimary
    ? await putBehindFences(store, families, former)
    : await discardInstance(places, urisNow(families, former.ref)).then(() => []);
  await store.locked(async ({ record, write }) => {
    if (record === null || JSON.stringify(record.former) !== JSON.stringify(former)) return;
    const details = { former: former.ref, lies };
    await write({
      next: { ...record, former: null },
      audit: { event: `mirror-${former.next}d`, by, details },
    });
  });
  return lies;
}

/** At each place stands a fence; the directory is beside it, under a parked name, or deleted. */
async function putBehindFences(
  store: RecordStore,
  families: FamilyRegistry,
  former: FormerMirror,
): Promise<string[]> {
  const { files } = store;
  const owner = { replica: replicaText(store.replica), migration: former.tag };
  const lies: string[] = [];
  for (const path of ownPaths(families, former.ref.uris)) {
    const parked = parkedName(path, `retired-${former.tag}`);
    await store.locked(async () => {
      const fence = await readFence(files, path);
      if (fence?.parked !== parked) await fencePath(files, { path, parked }, owner);
      else await files.syncDirectory(dirname(path));
    });
    if (former.next === 'retire') {
      lies.push(parked);
      continue;
    }
    const trash = trashName(parked, former.tag);
    await store.locked(async () => {
      await moveToTrash(files, { parked, trash });
      await writeFence(files, path, { ...owner, parked, holds: 'deleted' });
    });
    await removeTrash(files, trash);
  }
  return lies;
}

/** Takes away an instance that was never primary, or what was copied of it; frees its places. */
export async function discardInstance(
  { files, families }: Places,
  uris: InstanceUris,
): Promise<void> {
  for (const path of ownPaths(families, uris)) {
    const trash = trashName(path, 'discarded');
    await removeTrash(files, trash);
    await moveToTrash(files, { parked: path, trash });
    await removeTrash(files, trash);
  }
}

/**
 * Nobody writes to an instance that another replica's binding record names: by whatever path, nor
 * inside it or around it.
 */
import { join } from 'node:path';

import { fail } from '../../core/errors.ts';
import { replicaText, type ReplicaName } from '../../core/ids.ts';
import type { BindingRecord } from '../../schemas/binding-record.ts';
import type { InstanceUris } from '../contracts.ts';
import type { FamilyRegistry } from '../family-registry.ts';
import type { FileLayer } from '../file-layer.ts';
import { isErrno, makeDirectories } from '../files.ts';
import { overlaps, resolveExisting } from './fence-obstacles.ts';
import { ownPaths } from './parking.ts';
import { parkedName } from './path-fence.ts';
import { lockPatiently } from './patient-lock.ts';
import { RecordStore } from './record-store.ts';

/**
 * Symbolic links are resolved on both sides.
 * @throws `instance.named-by-record` when one of the instance's places is one that a record names,
 *   lies inside one, or holds one
 */
export async function requireUnnamed(options: {
  readonly families: FamilyRegistry;
  readonly files: FileLayer;
  readonly stateDir: string;
  readonly uris: InstanceUris;
  /** Whose own record does not count. */
  readonly except?: ReplicaName;
}): Promise<void> {
  const { families, files, stateDir, uris, except } = options;
  const real = async (paths: readonly string[]) =>
    Promise.all(paths.map((path) => resolveExisting(files, path)));
  const wanted = await real(ownPaths(families, uris));
  for (const store of await knownReplicas(files, stateDir)) {
    if (except !== undefined && replicaText(store.replica) === replicaText(except)) continue;
    const record = await store.read();
    if (record === null) continue;
    const named = await real(namedPaths(families, record));
    if (!named.some((path) => wanted.some((other) => overlaps(path, other)))) continue;
    throw fail('instance.named-by-record', {
      instance: uris.log,
      replica: replicaText(store.replica),
      record: store.directory.record,
    });
  }
}

/** Where the record's instances belong, and where they lie meanwhile. */
function namedPaths(families: FamilyRegistry, record: BindingRecord): string[] {
  const { primary, mirror, former, migration } = record;
  const named = [
    primary,
    ...(mirror ? [mirror.ref] : []),
    ...(former ? [former.ref] : []),
    ...(migration ? [migration.source, migration.target] : []),
  ];
  return named.flatMap(({ uris, parkedTag }) =>
    ownPaths(families, uris).flatMap((path) =>
      parkedTag === null ? [path] : [path, parkedName(path, parkedTag)],
    ),
  );
}

/**
 * Runs `naming`, which finds places unnamed and then names them in a record: one at a time on the
 * machine, so that no two records come to name the same ones. @throws `instance.locked`
 */
export async function namingAlone<T>(
  files: FileLayer,
  stateDir: string,
  naming: () => Promise<T>,
): Promise<T> {
  const path = join(stateDir, 'replicas');
  await makeDirectories(files, path);
  const wanted = { path, action: 'take a replica under', instance: stateDir };
  const lock = await lockPatiently(files, wanted);
  try {
    return await naming();
  } finally {
    await lock.release();
  }
}

/** Every replica that the state directory knows. */
export async function knownReplicas(files: FileLayer, stateDir: string): Promise<RecordStore[]> {
  const root = join(stateDir, 'replicas');
  const stores: RecordStore[] = [];
  for (const cluster of await listOrNothing(files, root)) {
    for (const member of await listOrNothing(files, join(root, cluster))) {
      const replica = { cluster, member };
      stores.push(new RecordStore({ files, stateDir, replica, now: () => new Date() }));
    }
  }
  return stores;
}

async function listOrNothing(files: FileLayer, path: string): Promise<string[]> {
  try {
    return (await files.list(path)).toSorted();
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) return [];
    throw error;
  }
}

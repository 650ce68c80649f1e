/** Nobody writes to an instance that another replica's binding record names. */
import { join } from 'node:path';

import { fail } from '../../core/errors.ts';
import { replicaText, type ReplicaName } from '../../core/ids.ts';
import type { InstanceUris } from '../contracts.ts';
import type { FamilyRegistry } from '../family-registry.ts';
import type { FileLayer } from '../file-layer.ts';
import { isErrno } from '../files.ts';
import { ownPaths } from './parking.ts';
import { RecordStore } from './record-store.ts';

/** @throws `instance.named-by-record` when a record names one of the instance's places */
export async function requireUnnamed(options: {
  readonly families: FamilyRegistry;
  readonly files: FileLayer;
  readonly stateDir: string;
  readonly uris: InstanceUris;
  /** Whose own record does not count. */
  readonly except?: ReplicaName;
}): Promise<void> {
  const { families, files, stateDir, uris, except } = options;
  const wanted = new Set(ownPaths(families, uris));
  for (const store of await knownReplicas(files, stateDir)) {
    if (except !== undefined && replicaText(store.replica) === replicaText(except)) continue;
    const record = await store.read();
    if (record === null) continue;
    const { primary, migration } = record;
    const named = [primary, ...(migration ? [migration.source, migration.target] : [])];
    const paths = named.flatMap((ref) => ownPaths(families, ref.uris));
    if (!paths.some((path) => wanted.has(path))) continue;
    throw fail('instance.named-by-record', {
      instance: uris.log,
      replica: replicaText(store.replica),
      record: store.directory.record,
    });
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

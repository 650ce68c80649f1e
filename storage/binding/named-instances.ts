/**
 * Nobody writes to an instance that another replica's binding record names: by whatever path, nor
 * inside it or around it.
 */
import { join } from 'node:path';

import { fail } from '../../core/errors.ts';
import { parseReplica, replicaText, type ReplicaName } from '../../core/ids.ts';
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
export async function requireUnnamed(
  options: WhereRecordsAre & {
    readonly uris: InstanceUris;
    /** Whose own record does not count. */
    readonly except?: ReplicaName;
  },
): Promise<void> {
  const { uris, except } = options;
  const named = await NamedPlaces.read(options);
  await named.requireUnnamed(uris, except);
}

export interface WhereRecordsAre {
  readonly families: FamilyRegistry;
  readonly files: FileLayer;
  readonly stateDir: string;
}

/**
 * What all records name, read once: for whoever names many places while nobody else names one
 * ({@link namingAlone}), and would else read every record for each of them.
 */
export class NamedPlaces {
  readonly #options: WhereRecordsAre;
  /** Symbolic links resolved; by replica. */
  readonly #places = new Map<string, readonly string[]>();

  private constructor(options: WhereRecordsAre) {
    this.#options = options;
  }

  static async read(options: WhereRecordsAre): Promise<NamedPlaces> {
    const named = new NamedPlaces(options);
    for (const store of await knownReplicas(options.files, options.stateDir)) {
      const record = await store.read();
      if (record === null) continue;
      const places = await named.#real(namedPaths(options.families, record));
      named.#places.set(replicaText(record.replica), places);
    }
    return named;
  }

  /**
   * As {@link requireUnnamed} does.
   * @returns the instance's places
   */
  async requireUnnamed(uris: InstanceUris, except?: ReplicaName): Promise<readonly string[]> {
    const { families, files, stateDir } = this.#options;
    const wanted = await this.#real(ownPaths(families, uris));
    for (const [replica, named] of this.#places) {
      if (except !== undefined && replica === replicaText(except)) continue;
      if (!named.some((path) => wanted.some((other) => overlaps(path, other)))) continue;
      const store = storeOf({ files, stateDir }, parseReplica(replica));
      const { record } = store.directory;
      throw fail('instance.named-by-record', { instance: uris.log, replica, record });
    }
    return wanted;
  }

  /** Requires the places to be unnamed, and counts them as this replica's from then on. */
  async claim(replica: ReplicaName, uris: InstanceUris): Promise<void> {
    const places = await this.requireUnnamed(uris, replica);
    this.#places.set(replicaText(replica), places);
  }

  #real(paths: readonly string[]): Promise<string[]> {
    return Promise.all(paths.map((path) => resolveExisting(this.#options.files, path)));
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
      stores.push(storeOf({ files, stateDir }, { cluster, member }));
    }
  }
  return stores;
}

function storeOf(where: Pick<WhereRecordsAre, 'files' | 'stateDir'>, replica: ReplicaName) {
  return new RecordStore({ ...where, replica, now: () => new Date() });
}

async function listOrNothing(files: FileLayer, path: string): Promise<string[]> {
  try {
    return (await files.list(path)).toSorted();
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) return [];
    throw error;
  }
}

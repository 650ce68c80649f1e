/**
 * braft's storage URIs as paths. `local://DIR` names a directory for each of log, metadata and
 * snapshot; metadata may also be `local-merged://DIR`, a LevelDB shared by groups, or
 * `local-mixed://merged_path=DIR&&single_path=DIR`, which braft writes to both.
 */
import { join, resolve } from 'node:path';

import { fail } from '../../../core/errors.ts';
import type { InstancePlace, InstanceUris } from '../../contracts.ts';
import { parseUri, uriPath } from '../../instance-uris.ts';

export const localScheme = 'local';
export const mergedScheme = 'local-merged';
export const mixedScheme = 'local-mixed';

/**
 * Where the metadata lies: in a file of its own, in a LevelDB under the group's key, or in both.
 */
export interface MetaPlace {
  readonly kind: 'single' | 'merged' | 'mixed';
  /** Directory of `raft_meta`; null for merged. */
  readonly directory: string | null;
  /** Directory of the LevelDB; null for single. */
  readonly database: string | null;
}

/** The paths of an instance; `snapshot` is null where the replica keeps none. All absolute. */
export interface LocalPlaces {
  readonly log: string;
  readonly meta: MetaPlace;
  readonly snapshot: string | null;
}

/** @throws `uri.invalid` */
export function localPlaces(uris: InstanceUris): LocalPlaces {
  requireLocal(uris.log);
  if (uris.snapshot !== '') requireLocal(uris.snapshot);
  const meta = metaPlace(uris.meta);
  if (meta.kind !== 'single' && uris.groupId === undefined) {
    throw fail('uri.invalid', { uri: uris.meta, reason: 'it needs the group id (<group>_<idx>)' });
  }
  return {
    log: uriPath(uris.log),
    meta,
    snapshot: uris.snapshot === '' ? null : uriPath(uris.snapshot),
  };
}

function requireLocal(uri: string): void {
  if (parseUri(uri).scheme === localScheme) return;
  throw fail('uri.invalid', { uri, reason: 'only metadata can have this scheme' });
}

function metaPlace(uri: string): MetaPlace {
  const { scheme, parameter } = parseUri(uri);
  if (scheme === localScheme) return { kind: 'single', directory: uriPath(uri), database: null };
  if (scheme === mergedScheme) return { kind: 'merged', directory: null, database: uriPath(uri) };
  if (scheme !== mixedScheme) throw fail('uri.invalid', { uri, reason: 'its scheme is not local' });
  const match = /merged_path=(.+?)&&single_path=(.+)$/.exec(parameter);
  if (match?.[1] === undefined || match[2] === undefined) {
    throw fail('uri.invalid', { uri, reason: 'it is not merged_path=DIR&&single_path=DIR' });
  }
  return { kind: 'mixed', directory: resolve(match[2]), database: resolve(match[1]) };
}

/** `local://DIR` as the three URIs below DIR that braft's examples use. @throws `uri.invalid` */
export function expandLocal(uri: string): InstanceUris {
  const { scheme, parameter } = parseUri(uri);
  if (scheme !== localScheme) {
    throw fail('uri.invalid', { uri, reason: 'only local:// has a short form' });
  }
  const base = parameter.replace(/\/+$/, '');
  const below = (name: string) => `${localScheme}://${base}/${name}`;
  return { log: below('log'), meta: below('raft_meta'), snapshot: below('snapshot') };
}

/** The instance's directories; a LevelDB is shared with other groups. */
export function instancePlaces(uris: InstanceUris): InstancePlace[] {
  const { log, meta, snapshot } = localPlaces(uris);
  const found: InstancePlace[] = [{ role: 'log', path: log, shared: false }];
  if (meta.directory !== null) found.push({ role: 'meta', path: meta.directory, shared: false });
  if (meta.database !== null) found.push({ role: 'meta', path: meta.database, shared: true });
  if (snapshot !== null) found.push({ role: 'snapshot', path: snapshot, shared: false });
  return found;
}

/** The same instance with every directory of its own moved; a LevelDB stays. */
export function relocateLocal(uris: InstanceUris, move: (path: string) => string): InstanceUris {
  const { log, meta, snapshot } = localPlaces(uris);
  const moved = (path: string) => `${localScheme}://${move(path)}`;
  const metaUri = () => {
    if (meta.directory === null) return uris.meta;
    if (meta.database === null) return moved(meta.directory);
    return `${mixedScheme}://merged_path=${meta.database}&&single_path=${move(meta.directory)}`;
  };
  return {
    ...uris,
    log: moved(log),
    meta: metaUri(),
    snapshot: snapshot === null ? '' : moved(snapshot),
  };
}

/** braft's file inside the metadata directory. */
export function raftMetaPath(directory: string): string {
  return join(directory, 'raft_meta');
}

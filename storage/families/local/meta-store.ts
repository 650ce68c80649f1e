/**
 * Term, vote and auxiliary of a local instance. braft keeps term and vote in `raft_meta` (or in a
 * LevelDB). What a library needs beyond them lies in `quorumshift_meta`, which braft ignores:
 * beside `raft_meta`, or in the log directory where the metadata is in a shared LevelDB. It holds
 * term and vote too, and those that it was written over; it is written first and is authoritative.
 * After a crash between the two writes `raft_meta` shows the ones written over, and is completed.
 * If it shows others, braft has run since, and the newer of the two wins: a higher term, a vote
 * over none.
 */
import { join } from 'node:path';

import { fail } from '../../../core/errors.ts';
import type { RaftMeta } from '../../contracts.ts';
import type { FileLayer } from '../../file-layer.ts';
import { initialMeta, sameVote, voteText } from '../../meta-rules.ts';
import { MergedMeta, readMergedMeta } from './merged-meta.ts';
import { decodeStableMeta, encodeStableMeta } from './messages.ts';
import {
  anyPeerText,
  isAnyPeer,
  isSamePeer,
  parsePeerId,
  type PeerId,
} from '../../braft-payloads/peer-id.ts';
import { raftMetaPath, type LocalPlaces } from './places.ts';
import { maxSmallFileBytes, readProtobufFile, writeProtobufFile } from './protobuf-file.ts';
import {
  auxiliaryFromJson,
  auxiliaryToJson,
  readSealed,
  writeSealed,
  type AuxiliaryJson,
} from './sealed-json.ts';

export const auxiliaryMetaName = 'quorumshift_meta';
const auxiliaryFormat = 'quorumshift-meta/1';

type TermAndVote = Pick<RaftMeta, 'term' | 'votedFor'>;

interface TermAndVoteJson {
  readonly term: string;
  /** Base64; null: nobody. */
  readonly votedFor: string | null;
}

/** Content of `quorumshift_meta`. */
interface AuxiliaryMetaJson extends TermAndVoteJson {
  /** Term and vote that were stored before it was written. */
  readonly over: TermAndVoteJson;
  readonly auxiliary: AuxiliaryJson;
}

export interface LoadedMeta {
  readonly meta: RaftMeta;
  /** What braft's own store holds; null when it is absent. */
  readonly stable: TermAndVote | null;
  readonly hasAuxiliaryFile: boolean;
  readonly warnings: readonly string[];
}

export interface MetaAddress {
  readonly files: FileLayer;
  readonly places: LocalPlaces;
  readonly groupId: string | undefined;
}

function auxiliaryPath({ places }: MetaAddress): string {
  return join(places.meta.directory ?? places.log, auxiliaryMetaName);
}

/**
 * The metadata as of the disk; changes nothing.
 * @throws `data.corrupt`, `meta.conflict`
 */
export async function loadMeta(
  address: MetaAddress,
  merged: MergedMeta | null,
): Promise<LoadedMeta> {
  const stable = await loadStable(address, merged);
  const path = auxiliaryPath(address);
  // Of the shape that saveMeta wrote: its checksum is right.
  const sealed = (await readSealed(
    address.files,
    path,
    auxiliaryFormat,
  )) as AuxiliaryMetaJson | null;
  if (sealed === null) {
    const meta = { ...(stable ?? initialMeta), auxiliary: new Map() };
    return { meta, stable, hasAuxiliaryFile: false, warnings: [] };
  }
  const ours = fromJson(sealed);
  const interrupted = stable === null || isSame(stable, fromJson(sealed.over));
  const chosen = interrupted ? ours : newer(path, ours, stable);
  const behind = stable === null || !isSame(stable, chosen);
  return {
    meta: { ...chosen, auxiliary: auxiliaryFromJson(sealed.auxiliary) },
    stable,
    hasAuxiliaryFile: true,
    warnings: behind ? ['raft_meta is behind quorumshift_meta: a save was interrupted'] : [],
  };
}

async function loadStable(
  { files, places, groupId }: MetaAddress,
  merged: MergedMeta | null,
): Promise<TermAndVote | null> {
  const { directory, database } = places.meta;
  const single = directory === null ? null : await loadSingle(files, raftMetaPath(directory));
  if (database === null) return single;
  const group = groupId ?? '';
  const value = merged ? await merged.get() : await readMergedMeta(files, database, group);
  const shared = value && stableFrom(value, `${database} (key ${group})`);
  if (directory === null || (single === null && shared === null)) return shared;
  // Of both, braft takes an absent one for its beginning.
  return newer(database, single ?? initialMeta, shared ?? initialMeta);
}

async function loadSingle(files: FileLayer, path: string): Promise<TermAndVote | null> {
  const message = await readProtobufFile(files, path, maxSmallFileBytes);
  return message && stableFrom(message, path);
}

function stableFrom(message: Buffer, file: string): TermAndVote {
  const { term, votedFor } = decodeStableMeta(message);
  const peer = votedFor && peerOf(votedFor);
  if (votedFor === null || peer === null) {
    throw fail('data.corrupt', { file, offset: 0, reason: 'its votedfor is no peer' });
  }
  return { term, votedFor: isAnyPeer(peer) ? null : votedFor };
}

function peerOf(votedFor: Uint8Array): PeerId | null {
  return parsePeerId(Buffer.from(votedFor).toString('latin1'));
}

/** A higher term wins; in one term a vote over none. @throws `meta.conflict` */
function newer(instance: string, a: TermAndVote, b: TermAndVote): TermAndVote {
  if (a.term !== b.term) return a.term > b.term ? a : b;
  if (b.votedFor === null || isSameCandidate(a.votedFor, b.votedFor)) return a;
  if (a.votedFor === null) return b;
  const actual = `votes of term ${a.term} are ${voteText(a.votedFor)} and ${voteText(b.votedFor)}`;
  throw fail('meta.conflict', { instance, actual });
}

/** Also in another spelling: a newer braft writes a fourth field. */
function isSameCandidate(a: Uint8Array | null, b: Uint8Array | null): boolean {
  const [one, other] = [a && peerOf(a), b && peerOf(b)];
  return one && other ? isSamePeer(one, other) : sameVote(a, b);
}

function isSame(a: TermAndVote, b: TermAndVote): boolean {
  return a.term === b.term && sameVote(a.votedFor, b.votedFor);
}

function toJson({ term, votedFor }: TermAndVote): TermAndVoteJson {
  return {
    term: term.toString(),
    votedFor: votedFor === null ? null : Buffer.from(votedFor).toString('base64'),
  };
}

function fromJson(json: TermAndVoteJson): TermAndVote {
  const votedFor = json.votedFor === null ? null : Buffer.from(json.votedFor, 'base64');
  return { term: BigInt(json.term), votedFor };
}

function encodeStable({ term, votedFor }: TermAndVote): Buffer {
  return encodeStableMeta({ term, votedFor: votedFor ?? Buffer.from(anyPeerText) });
}

/** The metadata of an instance open for writing. */
export class MetaStore {
  readonly #address: MetaAddress;
  readonly #merged: MergedMeta | null;
  #stable: TermAndVote | null;
  #hasAuxiliaryFile: boolean;
  readonly loaded: LoadedMeta;

  private constructor(address: MetaAddress, merged: MergedMeta | null, loaded: LoadedMeta) {
    this.#address = address;
    this.#merged = merged;
    this.#stable = loaded.stable;
    this.#hasAuxiliaryFile = loaded.hasAuxiliaryFile;
    this.loaded = loaded;
  }

  /** Changes nothing of this group; whoever goes on calls {@link complete} first. */
  static async open(address: MetaAddress): Promise<MetaStore> {
    const { database } = address.places.meta;
    const merged =
      database === null ? null : await MergedMeta.open(database, address.groupId ?? '');
    try {
      return new MetaStore(address, merged, await loadMeta(address, merged));
    } catch (error) {
      await merged?.close();
      throw error;
    }
  }

  /** Completes `raft_meta` where a save was interrupted. */
  async complete(): Promise<void> {
    if (this.loaded.hasAuxiliaryFile) await this.#saveStable(this.loaded.meta);
  }

  /** Durable when resolved; a crash leaves the metadata before or after. */
  async save(meta: RaftMeta): Promise<void> {
    if (meta.auxiliary.size > 0 || this.#hasAuxiliaryFile) {
      const { files } = this.#address;
      const over = toJson(this.#stable ?? initialMeta);
      const value = { ...toJson(meta), over, auxiliary: auxiliaryToJson(meta.auxiliary) };
      const path = auxiliaryPath(this.#address);
      await writeSealed(files, path, { format: auxiliaryFormat, value });
      this.#hasAuxiliaryFile = true;
    }
    await this.#saveStable(meta);
  }

  async #saveStable(meta: TermAndVote): Promise<void> {
    if (this.#stable !== null && isSame(this.#stable, meta)) return;
    const { directory } = this.#address.places.meta;
    const message = encodeStable(meta);
    if (directory !== null) {
      await writeProtobufFile(this.#address.files, raftMetaPath(directory), message);
    }
    await this.#merged?.put(message);
    this.#stable = { term: meta.term, votedFor: meta.votedFor };
  }

  async close(): Promise<void> {
    await this.#merged?.close();
  }
}

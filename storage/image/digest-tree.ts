/**
 * The state digest: one BLAKE3 tree over a replica's canonical state, the same in every family and
 * on every machine (docs/image-format.md, "State digest").
 *
 * A leaf hashes the canonical entries of 64 aligned indexes, clipped to the retained range; a node
 * hashes the leaves of 4096 aligned indexes; the log's hash covers the range and all nodes. Aligned
 * places make the tree independent of how the log was read, let it grow with the log, and let a
 * difference be found by descending. Each kind of hash has its own derive-key context, so that none
 * can stand for another.
 */
import { Blake3Hasher } from '@napi-rs/blake-hash';

import { assert } from '../../core/errors.ts';
import type { DurableState, RaftMeta, SnapshotFile, SnapshotMeta } from '../contracts.ts';
import { offsetAt, type EntryBatch } from '../entry-batch.ts';
import {
  ByteWriter,
  encodeMeta,
  encodeSnapshotFile,
  encodeSnapshotMeta,
} from './canonical-encoding.ts';
import { LeafHasher } from './leaf-hasher.ts';
import { hashBytes, leafIndexes, type LeafRun } from './leaf-run.ts';

/** Indexes of a node: 64 leaves. */
export const nodeIndexes = 4096n;

/** BLAKE3 derive-key contexts; part of the format. */
export const digestContexts = {
  leaf: 'quorumshift state digest v1 log leaf',
  node: 'quorumshift state digest v1 log node',
  log: 'quorumshift state digest v1 log',
  meta: 'quorumshift state digest v1 metadata',
  fileBytes: 'quorumshift state digest v1 snapshot file bytes',
  file: 'quorumshift state digest v1 snapshot file',
  snapshot: 'quorumshift state digest v1 snapshot',
  root: 'quorumshift state digest v1 root',
} as const;

function hash(context: string, bytes: Uint8Array): Buffer {
  return Blake3Hasher.deriveKey(context, bytes);
}

function hashOnce(bytes: Buffer, first: bigint, shared: LeafHashes | undefined): Buffer {
  const known = shared?.get(first);
  if (known !== undefined) return known;
  const made = hash(digestContexts.leaf, bytes);
  shared?.set(first, made);
  return made;
}

/** A log digest at a node boundary, as JSON: continues by re-reading at most 4096 entries. */
export interface LogDigestState {
  readonly firstIndex: string;
  /** The next index to append; a multiple of 4096, or the first index. */
  readonly nextIndex: string;
  /** Node hashes back to back, base64. */
  readonly nodes: string;
}

/**
 * Hashes of leaves by their first index: of two logs that hold the same bytes there, the second
 * need not hash them again.
 */
export type LeafHashes = Map<bigint, Buffer>;

/** What is known of a log before it is digested, and who wants to know more. */
export interface LogDigestOptions {
  /** A checkpoint of the same log: the entries before it are not fed again. */
  readonly resume?: LogDigestState;
  /** Leaves of this very log: their entries are not fed. */
  readonly known?: LeafRun;
  /** Told of each whole leaf that was fed, and of its first index. */
  readonly leafMade?: (firstIndex: bigint, hash: Buffer) => void;
}

/** The digest of a log, extended by appended entries without re-reading. */
export class LogDigest {
  readonly firstIndex: bigint;
  readonly #nodes: Buffer[] = [];
  readonly #known: LeafRun | undefined;
  readonly #leafMade: LogDigestOptions['leafMade'];
  #next: bigint;
  /** Hashes of leaves since the last node boundary, in pieces of one or more. */
  #leaves: Buffer[] = [];
  /** Entries of a leaf that is not complete. */
  readonly #leaf = new LeafHasher(digestContexts.leaf);

  constructor(firstIndex: bigint, { resume, known, leafMade }: LogDigestOptions = {}) {
    this.firstIndex = firstIndex;
    this.#known = known;
    this.#leafMade = leafMade;
    this.#next = firstIndex;
    if (resume !== undefined) this.#resume(resume);
    this.#takeKnown();
  }

  #resume(resume: LogDigestState): void {
    assert(resume.firstIndex === this.firstIndex.toString(), 'a digest continues the same range');
    this.#next = BigInt(resume.nextIndex);
    const nodes = Buffer.from(resume.nodes, 'base64');
    for (let at = 0; at < nodes.length; at += hashBytes) {
      this.#nodes.push(nodes.subarray(at, at + hashBytes));
    }
  }

  /** Goes on behind the leaves that are known, once the first of them is next. */
  #takeKnown(): void {
    const known = this.#known;
    if (known === undefined || this.#next !== known.firstIndex) return;
    while (this.#next < known.nextIndex) {
      const nodeEnd = (this.#next / nodeIndexes + 1n) * nodeIndexes;
      const end = nodeEnd < known.nextIndex ? nodeEnd : known.nextIndex;
      this.#leaves.push(known.hashes(this.#next, end));
      this.#next = end;
      this.#endNode();
    }
  }

  /** The index that the next appended entry must have. */
  get nextIndex(): bigint {
    return this.#next;
  }

  /**
   * @param shared filled with the hashes of the leaves that lie whole in the batch, and what is
   *   there already is taken: for a log that is known to have the same bytes there
   */
  append(batch: EntryBatch, shared?: LeafHashes): void {
    assert(batch.firstIndex === this.#next, 'a digest is fed in order');
    for (let i = 0; i < batch.count;) {
      const first = this.#next;
      const leafEnd = (first / leafIndexes + 1n) * leafIndexes;
      const taken = Math.min(batch.count - i, Number(leafEnd - first));
      const bytes = batch.bytes.subarray(offsetAt(batch, i), offsetAt(batch, i + taken));
      i += taken;
      this.#next += BigInt(taken);
      if (this.#next - first === leafIndexes) this.#addLeaf(hashOnce(bytes, first, shared));
      else this.#addToLeaf(bytes, this.#next === leafEnd);
    }
    this.#takeKnown();
  }

  #addToLeaf(bytes: Buffer, complete: boolean): void {
    this.#leaf.update(bytes);
    if (!complete) return;
    this.#addLeaf(this.#leaf.digest());
    this.#leaf.reset();
  }

  #addLeaf(leaf: Buffer): void {
    this.#leaves.push(leaf);
    const first = this.#next - leafIndexes;
    if (first >= this.firstIndex) this.#leafMade?.(first, leaf);
    this.#endNode();
  }

  #endNode(): void {
    if (this.#next % nodeIndexes !== 0n) return;
    this.#nodes.push(hash(digestContexts.node, Buffer.concat(this.#leaves)));
    this.#leaves = [];
  }

  /** All node hashes; the last may cover an unfinished node. Node 0 holds the first index. */
  nodes(): Buffer[] {
    const open = this.#leaf.empty ? this.#leaves : [...this.#leaves, this.#leaf.digest()];
    if (open.length === 0) return [...this.#nodes];
    return [...this.#nodes, hash(digestContexts.node, Buffer.concat(open))];
  }

  /** The hash of the log as it is now; appending may go on. */
  root(): Buffer {
    const writer = new ByteWriter().i64(this.firstIndex).i64(this.#next - 1n);
    return hash(digestContexts.log, writer.raw(Buffer.concat(this.nodes())).finish());
  }

  /** What {@link LogDigest} continues from: the last node boundary. */
  checkpoint(): LogDigestState {
    const complete = this.#nodes.length;
    const node = this.firstIndex / nodeIndexes + BigInt(complete);
    return {
      firstIndex: this.firstIndex.toString(),
      nextIndex: (complete === 0 ? this.firstIndex : node * nodeIndexes).toString(),
      nodes: Buffer.concat(this.#nodes).toString('base64'),
    };
  }
}

export function metaDigest(meta: RaftMeta): Buffer {
  return hash(digestContexts.meta, encodeMeta(meta));
}

/** One file as the digest sees it. `hash` covers path, size, user metadata and bytes. */
export interface DigestedFile extends SnapshotFile {
  readonly hash: Buffer;
}

/** The digest of a file's bytes where they need not be read; null where they must be. */
export type KnownFile = (file: SnapshotFile) => DigestedFile | null;

/** The digest of a snapshot, fed file by file. */
export class SnapshotDigest {
  readonly files: DigestedFile[] = [];
  readonly #known: KnownFile;
  #meta: SnapshotMeta | null = null;
  #open: { file: SnapshotFile; bytes: Blake3Hasher } | null = null;

  /** @param known files of this very snapshot: their bytes are not fed */
  constructor(known: KnownFile = () => null) {
    this.#known = known;
  }

  get meta(): SnapshotMeta | null {
    return this.#meta;
  }

  begin(meta: SnapshotMeta | null): void {
    this.#meta = meta;
  }

  /** Begins the next file, in order of the paths' bytes. */
  file(file: SnapshotFile): void {
    this.#endFile();
    const known = this.#known(file);
    if (known !== null) this.files.push(known);
    else this.#open = { file, bytes: Blake3Hasher.newDeriveKey(digestContexts.fileBytes) };
  }

  bytes(bytes: Uint8Array): void {
    assert(this.#open !== null, 'file bytes follow a file');
    this.#open.bytes.update(bytes);
  }

  root(): Buffer {
    this.#endFile();
    if (this.#meta === null) return hash(digestContexts.snapshot, Uint8Array.of(0));
    const writer = new ByteWriter().u8(1).bytes(encodeSnapshotMeta(this.#meta));
    writer.count(this.files.length).raw(Buffer.concat(this.files.map((file) => file.hash)));
    return hash(digestContexts.snapshot, writer.finish());
  }

  #endFile(): void {
    if (this.#open === null) return;
    const { file, bytes } = this.#open;
    const content = Buffer.concat([encodeSnapshotFile(file), bytes.digestBuffer()]);
    this.files.push({ ...file, hash: hash(digestContexts.file, content) });
    this.#open = null;
  }
}

export function rootDigest(parts: { log: Buffer; meta: Buffer; snapshot: Buffer }): Buffer {
  return hash(digestContexts.root, Buffer.concat([parts.log, parts.meta, parts.snapshot]));
}

/**
 * A short name of a state without its bulk: range, metadata and snapshot metadata, in hexadecimal.
 * Two states with one name can differ; two names mean two states.
 */
export function stateOutline(state: DurableState): string {
  const writer = new ByteWriter().i64(state.firstIndex).i64(state.lastIndex);
  writer.bytes(encodeMeta(state.meta));
  writer.optional(state.snapshot && encodeSnapshotMeta(state.snapshot));
  return hash('quorumshift state outline v1', writer.finish()).toString('hex');
}

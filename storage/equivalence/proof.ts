/**
 * Proof files: made only of two equal digests, written durably, checked when read. Beside them lie
 * the reports of comparisons that found a difference.
 */
import { assert, fail } from '../../core/errors.ts';
import type { EquivalenceReport } from '../../schemas/equivalence-report.ts';
import { proofSchema, type Proof } from '../../schemas/proof.ts';
import type { FileLayer } from '../file-layer.ts';
import { readWhole, writeDurably } from '../files.ts';
import type { StateDigest } from '../image/state-digester.ts';

/** Bound on a proof file: a handful of digests and URIs. */
export const maxProofBytes = 64 * 1024;

/** One instance and its digest, as read back from it. */
export interface ProvenSide {
  readonly uris: Proof['source']['uris'];
  readonly digest: StateDigest;
}

export interface ProofInput {
  readonly migrationId: string;
  readonly generation: number;
  readonly source: ProvenSide;
  readonly target: ProvenSide;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  /** Nothing was read back before then; absent: all of it just before `createdAt`. */
  readonly readSince?: string;
}

/** The proof that both sides are equal; calling it with different digests is a bug. */
export function makeProof(input: ProofInput): Proof {
  const { migrationId, generation, source, target, createdAt, readSince } = input;
  assert(source.digest.root === target.digest.root, 'a proof is of equal digests');
  const { range, parts, detail } = source.digest;
  return {
    format: 'quorumshift-proof/1',
    migrationId,
    generation,
    cut: {
      firstIndex: range.firstIndex.toString(),
      lastIndex: range.lastIndex.toString(),
      term: detail.meta.term.toString(),
    },
    source: { uris: source.uris, digest: source.digest.root },
    target: { uris: target.uris, digest: target.digest.root },
    parts,
    createdAt,
    ...(readSince !== undefined && { readSince }),
  };
}

/** Durable when resolved; replaces an earlier file of the name, whole. */
export async function writeProof(files: FileLayer, path: string, proof: Proof): Promise<void> {
  const bytes = Buffer.from(`${JSON.stringify(proofSchema.parse(proof), null, 2)}\n`);
  await writeDurably(files, path, bytes);
}

/** Durable when resolved; replaces an earlier file of the name, whole. */
export async function writeReport(
  files: FileLayer,
  path: string,
  report: EquivalenceReport,
): Promise<void> {
  await writeDurably(files, path, Buffer.from(`${JSON.stringify(report, null, 2)}\n`));
}

/**
 * The proof in the file; null when there is none.
 * @throws `data.corrupt` when it is no proof, or its two digests differ
 */
export async function readProof(files: FileLayer, path: string): Promise<Proof | null> {
  const bytes = await readWhole(files, path, maxProofBytes);
  if (bytes === null) return null;
  const parsed = proofSchema.safeParse(parseJson(bytes));
  if (!parsed.success) throw noProof(path, 'it is no proof');
  const proof = parsed.data;
  if (proof.source.digest !== proof.target.digest) throw noProof(path, 'its two digests differ');
  return proof;
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

function noProof(file: string, reason: string): Error {
  return fail('data.corrupt', { file, offset: 0, reason });
}

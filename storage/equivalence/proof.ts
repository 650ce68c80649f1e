/** Makes, writes and reads proofs. A proof is durable before any record names it. */
import { assert, fail } from '../../core/errors.ts';
import { proofSchema, type Proof } from '../../schemas/proof.ts';
import type { InstanceUris } from '../contracts.ts';
import type { FileLayer } from '../file-layer.ts';
import { readWhole, writeDurably } from '../files.ts';
import type { StateDigest } from '../image/state-digester.ts';

/** A proof has some hundred bytes and six URIs. */
const maxProofBytes = 256 * 1024;

export interface ProvedInstance {
  readonly uris: InstanceUris;
  /** Of what was read back from it. */
  readonly digest: StateDigest;
}

export function makeProof(given: {
  readonly migrationId: string;
  readonly generation: number;
  readonly createdAt: string;
  readonly source: ProvedInstance;
  readonly target: ProvedInstance;
}): Proof {
  const { source, target, ...rest } = given;
  assert(source.digest.root === target.digest.root, 'a proof is of equal states');
  const { firstIndex, lastIndex } = source.digest.range;
  return {
    format: 'quorumshift-proof/1',
    ...rest,
    cut: { firstIndex: firstIndex.toString(), lastIndex: lastIndex.toString() },
    source: proved(source),
    target: proved(target),
  };
}

function proved({ uris, digest }: ProvedInstance): Proof['source'] {
  return { uris, root: digest.root, ...digest.parts };
}

/** Durable when resolved. */
export async function writeProof(files: FileLayer, path: string, proof: Proof): Promise<void> {
  await writeDurably(files, path, Buffer.from(`${JSON.stringify(proof, null, 2)}\n`));
}

/** @throws `instance.missing`, `data.corrupt` */
export async function readProof(files: FileLayer, path: string): Promise<Proof> {
  const bytes = await readWhole(files, path, maxProofBytes);
  if (bytes === null) {
    throw fail('instance.missing', { instance: path, actual: 'there is no such proof' });
  }
  try {
    return proofSchema.parse(JSON.parse(bytes.toString('utf8')));
  } catch (cause) {
    throw fail('data.corrupt', { file: path, offset: 0, reason: 'it is no proof' }, { cause });
  }
}

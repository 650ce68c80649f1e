/** Holds a proof against an instance later (EQ-3): it may have been written since. */
import type { Instance } from '../contracts.ts';
import type { Proof } from '../../schemas/proof.ts';
import { LogDigest } from '../image/digest-tree.ts';
import type { TransferOptions } from '../image/state-stream.ts';
import { digestInstance, type DigestOptions } from './state-digest.ts';

export type ProofVerdict =
  /** The whole state is the one that was proven. */
  | 'as-proven'
  /** Up to the cut the log is; the replica has been written since. */
  | 'log-as-proven'
  /** Entries of the cut have been dropped behind a snapshot since: nothing can be said. */
  | 'trimmed'
  /** Entries of the cut were replaced since, by a leader, or are damaged. */
  | 'log-differs';

/** @throws what reading the instance throws; the signal's reason */
export async function checkProof(
  { source, cut, parts }: Proof,
  instance: Instance,
  options: Pick<DigestOptions, 'signal' | 'onProgress'> = {},
): Promise<ProofVerdict> {
  if ((await digestInstance(instance, options)).root === source.digest) return 'as-proven';
  const first = BigInt(cut.firstIndex);
  const last = BigInt(cut.lastIndex);
  const { firstIndex, lastIndex } = instance.state();
  if (firstIndex > first) return 'trimmed';
  if (lastIndex < last || firstIndex < first) return 'log-differs';
  const root = await logRoot(instance, { first, last }, options);
  return root === parts.log ? 'log-as-proven' : 'log-differs';
}

async function logRoot(
  instance: Instance,
  { first, last }: { readonly first: bigint; readonly last: bigint },
  { signal }: Pick<TransferOptions, 'signal'>,
): Promise<string> {
  const digest = new LogDigest(first);
  if (last >= first) {
    for await (const batch of instance.read(first, last, { passing: true })) {
      signal?.throwIfAborted();
      digest.append(batch);
    }
  }
  return digest.root().toString('hex');
}

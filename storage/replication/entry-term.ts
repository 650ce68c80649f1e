import type { Instance } from '../contracts.ts';
import { termAt } from '../entry-batch.ts';

/** The term of the entry at `index`, or of the snapshot that ends there; null for neither. */
export async function entryTerm(instance: Instance, index: bigint): Promise<bigint | null> {
  const { firstIndex, lastIndex, snapshot } = instance.state();
  if (index < firstIndex || index > lastIndex) {
    return snapshot?.lastIncludedIndex === index ? snapshot.lastIncludedTerm : null;
  }
  for await (const batch of instance.read(index, index)) return termAt(batch, 0);
  return null;
}

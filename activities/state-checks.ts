/** The rules between log, metadata and snapshot that a node relies on when it starts. */
import { termAt } from '../storage/entry-batch.ts';
import type { Instance } from '../storage/contracts.ts';

/**
 * Reads the whole log; answers what was seen. Rejects with the first state that a node would refuse
 * or silently repair by losing something (braft-on-disk format, cross-file rules; I5).
 */
export async function checkState(instance: Instance): Promise<string> {
  const { firstIndex, lastIndex, meta, snapshot } = instance.state();
  if (instance.warnings.length > 0) throw new Error(instance.warnings.join('; '));
  const covered = snapshot?.lastIncludedIndex ?? 0n;
  if (firstIndex > covered + 1n) {
    throw new Error(
      `entries ${covered + 1n}..${firstIndex - 1n} are missing: the log begins at ${firstIndex}`,
    );
  }
  let term = 0n;
  for await (const batch of instance.read(firstIndex, lastIndex)) {
    for (let i = 0; i < batch.count; i += 1) {
      const index = batch.firstIndex + BigInt(i);
      const next = termAt(batch, i);
      if (next < term || next < 1n)
        throw new Error(`the term at index ${index} is ${next} after ${term}`);
      if (snapshot !== null && index === covered && next !== snapshot.lastIncludedTerm) {
        throw new Error(
          `the snapshot at ${covered} has term ${snapshot.lastIncludedTerm}, the log ${next}`,
        );
      }
      term = next;
    }
  }
  if (meta.term < term)
    throw new Error(`the term on record, ${meta.term}, is below the log's, ${term}`);
  return `last term ${term}, snapshot ${snapshot === null ? 'none' : covered}`;
}

/**
 * The rules between log, metadata and snapshot that a node relies on when it starts, and the limits
 * of the families that hold them; in one pass over the log.
 */
import { termAt, type EntryBatch } from '../storage/entry-batch.ts';
import type { DurableState, Family, Instance } from '../storage/contracts.ts';
import { checkLimits } from '../storage/mutation-plan.ts';

type Limited = Pick<Family, 'name' | 'limits'>;

/**
 * Answers what was seen. Rejects with the first state that a node would refuse or silently repair
 * by losing something (I5), or that one of the families cannot hold (FAM-10).
 */
export async function checkState(
  instance: Instance,
  families: readonly Limited[],
): Promise<string> {
  const state = instance.state();
  const { firstIndex, lastIndex, meta, snapshot } = state;
  if (instance.hazards.length > 0) throw new Error(instance.hazards.join('; '));
  const covered = snapshot?.lastIncludedIndex ?? 0n;
  if (firstIndex > covered + 1n) {
    const missing = `${covered + 1n}..${firstIndex - 1n}`;
    throw new Error(`entries ${missing} are missing: the log begins at ${firstIndex}`);
  }
  let term = 0n;
  for await (const batch of instance.read(firstIndex, lastIndex)) {
    for (const { name, limits } of families) checkLimits({ family: name, limits }, batch);
    term = checkTerms(batch, state, term);
  }
  const known = [term, snapshot?.lastIncludedTerm ?? 0n];
  if (known.some((seen) => meta.term < seen)) {
    throw new Error(`the term on record, ${meta.term}, is below ${known.join(' or ')}, seen here`);
  }
  await checkNames(instance, families);
  return `last term ${term}, snapshot ${snapshot === null ? 'none' : covered}`;
}

/** Terms do not fall, and the snapshot's is that of its last entry; returns the last term. */
function checkTerms(batch: EntryBatch, { snapshot }: DurableState, before: bigint): bigint {
  let term = before;
  for (let i = 0; i < batch.count; i += 1) {
    const index = batch.firstIndex + BigInt(i);
    const next = termAt(batch, i);
    if (next < term || next < 1n) {
      throw new Error(`the term at index ${index} is ${next} after ${term}`);
    }
    if (index === snapshot?.lastIncludedIndex && next !== snapshot.lastIncludedTerm) {
      const { lastIncludedTerm } = snapshot;
      throw new Error(`the snapshot at ${index} has term ${lastIncludedTerm}, the log ${next}`);
    }
    term = next;
  }
  return term;
}

async function checkNames(instance: Instance, families: readonly Limited[]): Promise<void> {
  const { votedFor } = instance.state().meta;
  const snapshot = await instance.snapshots.latest();
  try {
    for (const { name, limits } of families) {
      const vote = votedFor && limits.votedFor(votedFor);
      if (vote !== null) throw new Error(`${name} cannot hold the vote: ${vote}`);
      for (const { path } of snapshot?.files ?? []) {
        const problem = limits.path(path);
        if (problem !== null) throw new Error(`${name} cannot hold file "${path}": ${problem}`);
      }
    }
  } finally {
    await snapshot?.close();
  }
}

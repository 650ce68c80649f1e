/** How large a state is, for estimates and progress. */
import type { Instance } from '../storage/contracts.ts';

/** Entries are sampled up to this many bytes from the front of the log. */
const sampleBytes = 1024 * 1024;

/** Canonical bytes of log and snapshot: exact for files, estimated for entries from a sample. */
export async function stateBytes(instance: Instance): Promise<number> {
  const { firstIndex, lastIndex } = instance.state();
  let bytes = 0;
  for await (const batch of instance.read(firstIndex, lastIndex, { maxBytes: sampleBytes })) {
    const sampled = (batch.offsets.at(-1) ?? 0) - (batch.offsets[0] ?? 0);
    bytes += (sampled / batch.count) * Number(lastIndex - firstIndex + 1n);
    break;
  }
  const snapshot = await instance.snapshots.latest();
  for (const file of snapshot?.files ?? []) bytes += file.bytes;
  await snapshot?.close();
  return Math.round(bytes);
}

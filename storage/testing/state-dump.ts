/**
 * The whole durable state as plain values, for comparing instances with each other and with a
 * model.
 */
import { createHash } from 'node:crypto';

import type { Instance, RaftMeta, SnapshotMeta, SnapshotReader } from '../contracts.ts';
import { entryAt } from '../entry-batch.ts';

export interface StateDump {
  readonly firstIndex: bigint;
  readonly lastIndex: bigint;
  /** `index/term/type/length/digest of the payload` each. */
  readonly entries: readonly string[];
  readonly meta: string;
  readonly snapshot: { readonly meta: string; readonly files: readonly string[] } | null;
}

/** Everything that EQ-1 compares, read back from the instance. */
export async function dumpState(instance: Instance): Promise<StateDump> {
  const { firstIndex, lastIndex, meta } = instance.state();
  const entries: string[] = [];
  for await (const batch of instance.read(firstIndex, lastIndex)) {
    for (let i = 0; i < batch.count; i += 1) entries.push(dumpEntry(entryAt(batch, i)));
  }
  const reader = await instance.snapshots.latest();
  const snapshot = reader && (await dumpSnapshot(reader));
  return { firstIndex, lastIndex, entries, meta: dumpMeta(meta), snapshot };
}

export function dumpEntry(entry: {
  readonly index: bigint;
  readonly term: bigint;
  readonly type: number;
  readonly payload: Uint8Array;
}): string {
  const { index, term, type, payload } = entry;
  return `${index}/${term}/${type}/${payload.length}/${digest(payload)}`;
}

export function dumpMeta(meta: RaftMeta): string {
  const { term, votedFor, auxiliary } = meta;
  return JSON.stringify([term.toString(), hex(votedFor), dumpAuxiliary(auxiliary)]);
}

export function dumpSnapshotMeta(meta: SnapshotMeta): string {
  const { lastIncludedIndex, lastIncludedTerm, peers, oldPeers, auxiliary } = meta;
  const place = [lastIncludedIndex.toString(), lastIncludedTerm.toString()];
  return JSON.stringify([...place, peers, oldPeers, dumpAuxiliary(auxiliary)]);
}

export function dumpFile(
  file: { readonly path: string; readonly userMeta: Uint8Array | null },
  content: Uint8Array,
): string {
  return `${file.path}/${content.length}/${digest(content)}/${hex(file.userMeta)}`;
}

/** Reads and closes it. */
export async function dumpSnapshot(
  reader: SnapshotReader,
): Promise<NonNullable<StateDump['snapshot']>> {
  const files: string[] = [];
  for (const file of reader.files) {
    const pieces: Buffer[] = [];
    for await (const piece of reader.read(file.path)) pieces.push(Buffer.from(piece));
    files.push(dumpFile(file, Buffer.concat(pieces)));
  }
  await reader.close();
  return { meta: dumpSnapshotMeta(reader.meta), files };
}

function dumpAuxiliary(auxiliary: ReadonlyMap<string, Uint8Array>): string[] {
  return [...auxiliary].map(([key, value]) => `${key}=${hex(value)}`).toSorted();
}

function hex(bytes: Uint8Array | null): string | null {
  return bytes && Buffer.from(bytes).toString('hex');
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 16);
}

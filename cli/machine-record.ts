/** The binding record of a replica, where the state directory of its agent is on this machine. */
import { fail } from '../core/errors.ts';
import { replicaText, type ReplicaName } from '../core/ids.ts';
import type { BindingRecord } from '../schemas/binding-record.ts';
import { readControl, type BulkControl } from '../storage/binding/control-file.ts';
import { RecordStore } from '../storage/binding/record-store.ts';
import { nodeFileLayer } from '../storage/node-file-layer.ts';

export function storeOf(replica: ReplicaName, stateDir: string): RecordStore {
  return new RecordStore({ files: nodeFileLayer, stateDir, replica, now: () => new Date() });
}

/** @throws `record.missing`, `record.corrupt` */
export async function localRecord(replica: ReplicaName, stateDir: string): Promise<BindingRecord> {
  const store = storeOf(replica, stateDir);
  const record = await store.read();
  if (record !== null) return record;
  throw fail('record.missing', {
    action: 'show',
    replica: replicaText(replica),
    path: store.directory.record,
  });
}

/** What was last wished of the replica's bulk work. @throws `config.invalid` */
export async function localControl(replica: ReplicaName, stateDir: string): Promise<BulkControl> {
  const { files, directory } = storeOf(replica, stateDir);
  return readControl(files, directory);
}

/** The record as far as it can be looked at from here: beside an answer that stands without it. */
export interface MachineLook {
  readonly record: BindingRecord | null;
  /** Why a record that is here cannot be read. */
  readonly problem: string | null;
}

export async function lookAtMachine(replica: ReplicaName, stateDir: string): Promise<MachineLook> {
  try {
    return { record: await storeOf(replica, stateDir).read(), problem: null };
  } catch (error) {
    return { record: null, problem: error instanceof Error ? error.message : String(error) };
  }
}

/** The binding record of a replica, where the state directory of its agent is on this machine. */
import { fail, messageOf } from '../core/errors.ts';
import { replicaText, type ReplicaName } from '../core/ids.ts';
import { AdminClient } from '../host/admin-client.ts';
import type { ReplicaStatus } from '../host/proto/gen/storage_host_admin.ts';
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
  /** As this machine's storage host shows it; null where none answers. */
  readonly served: ReplicaStatus | null;
}

/** A host that is busy for longer is not waited for. */
const hostAnswersWithinMs = 1_000;

export async function lookAtMachine(
  replica: ReplicaName,
  { stateDir, socket }: { readonly stateDir: string; readonly socket: string },
): Promise<MachineLook> {
  const store = storeOf(replica, stateDir);
  try {
    const record = await store.read();
    // Only a host makes this lock.
    const isServed = (await store.files.stat(store.directory.lock)) !== null;
    const served = record !== null && isServed ? await askHost(replica, socket) : null;
    return { record, problem: null, served };
  } catch (error) {
    const problem = messageOf(error);
    return { record: null, problem, served: null };
  }
}

async function askHost(replica: ReplicaName, socket: string): Promise<ReplicaStatus | null> {
  const signal = AbortSignal.timeout(hostAnswersWithinMs);
  try {
    return await AdminClient.use({ socket, signal }, (client) => client.show(replicaText(replica)));
  } catch {
    return null;
  }
}

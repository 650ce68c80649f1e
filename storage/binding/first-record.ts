/** The record of a replica that none was kept of before. */
import type { ReplicaName } from '../../core/ids.ts';
import type { BindingRecord } from '../../schemas/binding-record.ts';
import type { InstanceUris } from '../contracts.ts';

export function firstRecord(replica: ReplicaName, primary: InstanceUris): BindingRecord {
  return {
    format: 'quorumshift-binding/1',
    replica,
    revision: 0,
    generation: 0,
    lease: 0,
    token: { lease: 0, step: 0, attempt: 0 },
    primary: { uris: primary, parkedTag: null },
    mirror: null,
    former: null,
    migration: null,
    lastEnded: null,
  };
}

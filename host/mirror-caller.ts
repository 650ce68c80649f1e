/** Who asks for something about a replica's mirror, and how it is refused. */
import { fail } from '../core/errors.ts';
import { replicaText } from '../core/ids.ts';
import type { BindingRecord } from '../schemas/binding-record.ts';
import type { RecordStore } from '../storage/binding/record-store.ts';
import type { StepClaim } from '../storage/binding/step-guard.ts';

export interface Caller {
  /** For the audit trail. */
  readonly by: string;
  /** At whose behest: a migration's step (OPS-5); null: an operator's, by hand. */
  readonly claim: StepClaim | null;
}

/** Of a replica that is in another stage than is needed. */
export function conflict(store: RecordStore, action: string, actual: string): Error {
  const required = 'its pair must be in the stage for it';
  return fail('record.conflict', { action, replica: replicaText(store.replica), required, actual });
}

/** @throws `record.missing` */
export function presentOf(store: RecordStore, record: BindingRecord | null): BindingRecord {
  if (record !== null) return record;
  throw fail('record.missing', {
    action: 'change the mirror of',
    replica: replicaText(store.replica),
    path: store.directory.record,
  });
}

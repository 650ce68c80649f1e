/** What a rollout asks of one member: the input of its migration, the same whenever it is made. */
import { migrationInputText } from '../core/migration-input-text.ts';
import type { ClusterRollout, RolloutMember } from '../schemas/cluster-rollout.ts';
import type { MigrationInput } from '../schemas/migration.ts';
import { sha256Text } from './sha256-text.ts';

export interface MemberMigration {
  readonly rollout: ClusterRollout;
  readonly spec: RolloutMember;
  readonly step: 'storage' | 'binary';
  readonly migrationId: string;
}

export function memberInput(migration: MemberMigration): MigrationInput {
  const { rollout, spec, step, migrationId } = migration;
  const { policy, cluster, contractVersion, requestedBy } = rollout;
  const target = spec.target ?? spec.source;
  return {
    contractVersion,
    migrationId,
    replica: { cluster, member: spec.member },
    host: spec.host,
    agentId: spec.agentId,
    // A program is replaced where the storage lies by then.
    source: step === 'binary' ? target : spec.source,
    target,
    policy: {
      ...policy.replica,
      soakSeconds: policy.soakSeconds,
      // The rollout approves, and completes.
      approval: 'manual',
      finalize: 'manual',
    },
    mode: step === 'binary' ? 'binary' : null,
    standalone: null,
    requestedBy,
  };
}

/** As schemas/input-digest.ts has it. */
export function memberInputDigest(input: MigrationInput): string {
  return sha256Text(migrationInputText({ ...input }));
}

/** `<rollout>-s1`: at most 32 letters. */
export function memberMigrationId(given: {
  readonly rolloutId: string;
  readonly step: 'storage' | 'binary';
  readonly attempt: number;
}): string {
  return `${given.rolloutId}-${given.step === 'storage' ? 's' : 'b'}${given.attempt}`;
}

/** Of a record's migration: which of the rollout's it is; null: none. */
export function memberAttemptOf(
  migrationId: string | null,
  rolloutId: string,
): { readonly step: 'storage' | 'binary'; readonly attempt: number } | null {
  if (migrationId?.startsWith(`${rolloutId}-`) !== true) return null;
  const [, kind, count] = /^([sb])(\d{1,6})$/.exec(migrationId.slice(rolloutId.length + 1)) ?? [];
  if (kind === undefined) return null;
  return { step: kind === 's' ? 'storage' : 'binary', attempt: Number(count) };
}

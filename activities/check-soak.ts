/** While a migrated replica soaks: whether it serves as it should. No step; it changes nothing. */
import { fail, hasCode } from '../core/errors.ts';
import type { BindingRecord, MigrationState } from '../schemas/binding-record.ts';
import { checkAddressee, recordStore, type AgentContext, type Attempt } from './agent-context.ts';
import type { SoakAnswer, SoakRequest } from './contract.ts';
import { runHookOf } from './hook-step.ts';

/**
 * Runs the probe.
 * @throws `record.superseded` when the migration does not soak, or is another lease's;
 *   `hook.still-running`
 */
export async function checkSoak(
  context: AgentContext,
  request: SoakRequest,
  { signal }: Attempt,
): Promise<SoakAnswer> {
  checkAddressee(context, request);
  const store = recordStore(context, request);
  const migration = soaking(await store.read(), request);
  const effect = <T>(launch: () => Promise<T>) =>
    store.locked(({ record }) => {
      soaking(record, request);
      return launch();
    });
  const probe = { hook: 'probe', side: 'target', phase: 'soak' } as const;
  try {
    await runHookOf(context, { ...probe, store, migration, signal, effect });
    return { failure: null };
  } catch (error) {
    if (!hasCode(error, 'hook.failed')) throw error;
    return { failure: error.message };
  }
}

function soaking(record: BindingRecord | null, request: SoakRequest): MigrationState {
  const migration = record?.migration ?? null;
  const isOwn = migration?.id === request.migrationId && record?.lease === request.lease;
  if (isOwn && migration.phase === 'soak') return migration;
  const actual = migration === null ? 'the migration has ended' : `it is in ${migration.phase}`;
  throw fail('record.superseded', { step: 'soak', migration: request.migrationId, actual });
}

/** While a migrated replica soaks: whether it serves as it should. No step; it changes nothing. */
import { fail, hasCode } from '../core/errors.ts';
import { replicaText } from '../core/ids.ts';
import { AdminClient } from '../host/admin-client.ts';
import type { BindingRecord, MigrationState } from '../schemas/binding-record.ts';
import { checkAddressee, recordStore, type AgentContext, type Attempt } from './agent-context.ts';
import type { SoakAnswer, SoakRequest } from './contract.ts';
import { runHookOf } from './hook-step.ts';

/**
 * Runs the probe; live, holds the append latency against its limit.
 * @throws `host.unreachable`, `hook.still-running`; `record.superseded` when the migration does not
 *   soak, or is another lease's
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
    return { failure: await slowness(context, migration) };
  } catch (error) {
    if (!hasCode(error, 'hook.failed')) throw error;
    return { failure: error.message };
  }
}

/** Null where appends are fast enough, or nothing is asked for. */
async function slowness(
  { config }: AgentContext,
  { mode, input }: MigrationState,
): Promise<string | null> {
  const limit = input.policy.appendP99Ms;
  if (mode !== 'live' || limit === null) return null;
  const { appendP99Ms } = await AdminClient.use({ socket: config.hostAdminSocket }, (client) =>
    client.show(replicaText(input.replica)),
  );
  if (appendP99Ms <= limit) return null;
  return `append p99 of the last minute is ${appendP99Ms.toFixed(1)} ms, the limit ${limit} ms`;
}

function soaking(record: BindingRecord | null, request: SoakRequest): MigrationState {
  const migration = record?.migration ?? null;
  const isOwn = migration?.id === request.migrationId && record?.lease === request.lease;
  if (isOwn && migration.phase === 'soak') return migration;
  const actual = migration === null ? 'the migration has ended' : `it is in ${migration.phase}`;
  throw fail('record.superseded', { step: 'soak', migration: request.migrationId, actual });
}

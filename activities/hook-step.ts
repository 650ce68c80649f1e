/** The steps that run an operator's command: stop, repoint, replace, start, probe. */
import { replicaText, type ReplicaName } from '../core/ids.ts';
import type { Phase } from '../core/phases.ts';
import type { HookName } from '../schemas/agent-config.ts';
import type { MigrationState } from '../schemas/binding-record.ts';
import type { RecordStore } from '../storage/binding/record-store.ts';
import type { AgentContext } from './agent-context.ts';
import { runHook, waitForPreviousHook, type HookResult } from './hook-runner.ts';
import type { StepBody } from './step-runner.ts';

/** What a hook printed last, in a result: enough to see, far below the history's limits. */
const shownOutputCharacters = 500;

/** A step that runs `hook` with the URIs of the instance that the replica is (to be) on. */
export function hookStep(hook: HookName, side: 'source' | 'target'): StepBody {
  return async ({ context, store, guard, attempt, phase }) => {
    const { migration } = guard;
    const effect = <T>(launch: () => Promise<T>) => guard.effect(launch);
    const { signal } = attempt;
    const ran = await runHookOf(context, { hook, side, store, migration, phase, signal, effect });
    if (ran === null) return { outcome: 'done', info: { hook: 'none' } };
    const output = ran.stdoutTail.trim().slice(-shownOutputCharacters);
    return { outcome: 'done', info: { hook, ms: Math.round(ran.durationMs), output } };
  };
}

/** A run of one of the replica's hooks on behalf of a migration. */
interface MigrationHook {
  readonly hook: HookName;
  readonly side: 'source' | 'target';
  readonly store: RecordStore;
  readonly migration: MigrationState;
  readonly phase: Phase;
  readonly signal: AbortSignal;
  /** Runs the launch under the record's lock, if the migration still stands there (OPS-5). */
  readonly effect: <T>(launch: () => Promise<T>) => Promise<T>;
}

/** Null when none is configured. @throws `hook.still-running`, `hook.failed` */
export async function runHookOf(
  context: AgentContext,
  asked: MigrationHook,
): Promise<HookResult | null> {
  const { hook, store, signal, effect } = asked;
  const configured = hooksOf(context, store.replica)[hook];
  if (configured === 'none') return null;
  const [command = '', ...args] = configured.exec;
  const ledgerPath = store.directory.hooks;
  const { files } = context;
  const timeoutMs = configured.timeoutSeconds * 1000;
  // One that a killed agent left behind may still act: it is waited for, then named (OPS-7).
  await waitForPreviousHook({ files, ledgerPath, timeoutMs });
  return runHook({
    hook,
    replica: replicaText(store.replica),
    command,
    args,
    env: hookEnvironment(asked),
    timeoutMs,
    ledgerPath,
    files,
    signal,
    guard: effect,
  });
}

/** The commands that this machine runs for `replica`. */
export function hooksOf(
  { config }: AgentContext,
  replica: ReplicaName,
): AgentContext['config']['hooks'] {
  return config.replicas[replicaText(replica)]?.hooks ?? config.hooks;
}

function hookEnvironment({ migration, side, phase, store }: MigrationHook): Record<string, string> {
  const { uris } = migration[side];
  return {
    QUORUMSHIFT_CLUSTER: store.replica.cluster,
    QUORUMSHIFT_MEMBER: store.replica.member,
    QUORUMSHIFT_MIGRATION: migration.id,
    QUORUMSHIFT_PHASE: phase,
    QUORUMSHIFT_DIRECTION: migration.rollback === null ? 'forward' : 'back',
    QUORUMSHIFT_LOG_URI: uris.log,
    QUORUMSHIFT_META_URI: uris.meta,
    QUORUMSHIFT_SNAPSHOT_URI: uris.snapshot,
  };
}

/** The steps that run an operator's command: stop, repoint, start, probe. */
import { replicaText, type ReplicaName } from '../core/ids.ts';
import type { HookName } from '../schemas/agent-config.ts';
import type { AgentContext } from './agent-context.ts';
import { runHook, waitForPreviousHook } from './hook-runner.ts';
import type { Step, StepBody } from './step-runner.ts';

/** What a hook printed last, in a result: enough to see, far below the history's limits. */
const shownOutputCharacters = 500;

/** A step that runs `hook` with the URIs of the instance that the replica is (to be) on. */
export function hookStep(hook: HookName, side: 'source' | 'target'): StepBody {
  return async (step) => {
    const configured = hooksOf(step.context, step.request.replica)[hook];
    if (configured === 'none') return { outcome: 'done', info: { hook: 'none' } };
    const [command = '', ...args] = configured.exec;
    const ledgerPath = step.store.directory.hooks;
    const { files } = step.context;
    const timeoutMs = configured.timeoutSeconds * 1000;
    // One that a killed agent left behind may still act: it is waited for, then named (OPS-7).
    await waitForPreviousHook({ files, ledgerPath, timeoutMs });
    const result = await runHook({
      hook,
      replica: replicaText(step.request.replica),
      command,
      args,
      env: hookEnvironment(step, side),
      timeoutMs,
      ledgerPath,
      files,
      signal: step.attempt.signal,
      guard: (launch) => step.guard.effect(launch),
    });
    const output = result.stdoutTail.trim().slice(-shownOutputCharacters);
    return { outcome: 'done', info: { hook, ms: Math.round(result.durationMs), output } };
  };
}

/** The commands that this machine runs for `replica`. */
export function hooksOf(
  { config }: AgentContext,
  replica: ReplicaName,
): AgentContext['config']['hooks'] {
  return config.replicas[replicaText(replica)]?.hooks ?? config.hooks;
}

function hookEnvironment(step: Step, side: 'source' | 'target'): Record<string, string> {
  const { migration } = step.guard;
  const { uris } = migration[side];
  return {
    QUORUMSHIFT_CLUSTER: step.request.replica.cluster,
    QUORUMSHIFT_MEMBER: step.request.replica.member,
    QUORUMSHIFT_MIGRATION: migration.id,
    QUORUMSHIFT_PHASE: step.phase,
    QUORUMSHIFT_LOG_URI: uris.log,
    QUORUMSHIFT_META_URI: uris.meta,
    QUORUMSHIFT_SNAPSHOT_URI: uris.snapshot,
  };
}

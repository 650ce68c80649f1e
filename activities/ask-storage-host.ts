/** What a live migration's steps ask of the machine's storage host, over its admin socket. */
import { hasCode } from '../core/errors.ts';
import { replicaText } from '../core/ids.ts';
import { AdminClient, type Asked } from '../host/admin-client.ts';
import type { Progress, ReplicaStatus } from '../host/proto/gen/storage_host_admin.ts';
import type { MigrationInput } from '../schemas/migration.ts';
import type { MigrationMode } from '../core/phases.ts';
import type { StepEnding } from '../storage/binding/step-guard.ts';
import { recordStore, type AgentContext } from './agent-context.ts';
import { underControl } from './bulk-work.ts';
import type { Step } from './step-runner.ts';

/**
 * Live is the default where a storage host serves the replica, be it away at the moment: its lock
 * is there from the first time on.
 */
export async function modeOf(context: AgentContext, input: MigrationInput): Promise<MigrationMode> {
  if (input.mode !== null) return input.mode;
  const { files, directory } = recordStore(context, input);
  return (await files.stat(directory.lock)) === null ? 'stopped' : 'live';
}

/**
 * The host serves the replica from the source, without a mirror beside a target of this migration.
 * @throws `host.unreachable`, `session.unknown-replica`, and an Error that says what is otherwise
 */
export async function requireServed(
  context: AgentContext,
  input: MigrationInput,
): Promise<ReplicaStatus> {
  const { hostAdminSocket: socket } = context.config;
  const status = await AdminClient.use({ socket }, (client) =>
    client.show(replicaText(input.replica)),
  );
  const { refusal, mirror, former } = status;
  if (refusal !== '') throw new Error(`it refuses the replica: ${refusal}`);
  if (mirror !== undefined && mirror.logUri !== input.target.log) {
    throw new Error(`${mirror.logUri} is its mirror: "replica drop" gives it up`);
  }
  if (former !== undefined) throw new Error(`${former.logUri} was left: "replica drop" deletes it`);
  return status;
}

/**
 * Asks under the step's own token: a late attempt changes nothing there either (OPS-5).
 * @throws `host.unreachable`, `record.superseded`, and what the call throws
 */
export function askHost<Result>(
  step: Step,
  work: (client: AdminClient, asked: Asked) => Promise<Result>,
): Promise<Result> {
  const { context, request, attempt, phase } = step;
  const { migrationId, lease, step: number } = request;
  const claim = { migrationId, phase, lease, step: number, attempt: attempt.attempt };
  const caller = { by: `migration ${migrationId}`, claim };
  const { hostAdminSocket: socket } = context.config;
  return AdminClient.use({ socket, signal: attempt.signal }, (client) =>
    work(client, { replica: replicaText(request.replica), caller }),
  );
}

/** Bulk work of the host's, which keeps the pace of the control file itself. */
export function askForBulk<Result>(
  step: Step,
  work: (
    client: AdminClient,
    asked: Asked,
    onProgress: (progress: Progress) => void,
  ) => Promise<Result>,
): Promise<Result> {
  const totals = { bytesTotal: 0 };
  return underControl(step, totals, ({ onProgress }) =>
    askHost(step, (client, asked) =>
      work(client, asked, ({ phase, ...counts }) => {
        const entriesDone = Number(counts.entriesDone);
        const entriesTotal = Number(counts.entriesTotal);
        const bytesDone = Number(counts.bytesDone);
        totals.bytesTotal = entriesDone > 0 ? (bytesDone * entriesTotal) / entriesDone : 0;
        const known = phase === 'log' || phase === 'snapshot' ? phase : 'done';
        onProgress?.({ phase: known, entriesDone, entriesTotal, bytesDone });
      }),
    ),
  );
}

/** Whether dual write is over: the host has left a mirror that failed (DUAL-8). */
export async function hasLostMirror({ store }: Step): Promise<boolean> {
  return (await store.read())?.mirror?.stage !== 'dual';
}

/** Runs `work`, whose failure is no failure of the step where the mirror was left meanwhile. */
export async function unlessLost(step: Step, work: () => Promise<StepEnding>): Promise<StepEnding> {
  if (await hasLostMirror(step)) return lostEnding();
  try {
    return await work();
  } catch (error) {
    if (hasCode(error, 'record.superseded') || !(await hasLostMirror(step))) throw error;
    return lostEnding();
  }
}

function lostEnding(): StepEnding {
  return { outcome: 'lost', info: { reason: 'the mirror failed and was left' } };
}

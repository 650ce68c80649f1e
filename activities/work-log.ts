/**
 * What an agent's log tells of the work on its machine: each step and what it came to, each
 * decision, each failure with its code. The journal beside the record is the proof of what was
 * done (docs/audit.md); this is to be read along with.
 */
import { QuorumshiftError, messageOf } from '../core/errors.ts';
import { replicaText, type ReplicaName } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { Attempt } from './agent-context.ts';

export interface LoggedWork {
  readonly replica: ReplicaName;
  readonly migrationId: string;
  /** A phase, or what is done that is none. */
  readonly what: string;
  /** Long work is told of as it begins, too. */
  readonly isLong?: boolean;
}

/** What it came to; null: nothing worth a line. */
export interface Told {
  readonly says: string;
  readonly parts?: Readonly<Record<string, string | number | null>>;
  /** It needs somebody's look. */
  readonly isWrong?: boolean;
}

/** In the sentence; the parts always have it. */
const shownMs = 1000;

export async function logged<Answer>(
  log: Log,
  work: LoggedWork & { readonly attempt: Attempt },
  run: () => Promise<Answer>,
  tells: (answer: Answer) => Told | null,
): Promise<Answer> {
  const { what, migrationId, attempt } = work;
  const replica = replicaText(work.replica);
  const shown = `${replica} ${migrationId}: ${what}`;
  const of = { replica, migration: migrationId, what, attempt: attempt.attempt };
  if (work.isLong === true) log(`${shown} begins`, of);
  const startedMs = performance.now();
  const tookMs = () => Math.round(performance.now() - startedMs);
  try {
    const answer = await run();
    const told = tells(answer);
    const ms = tookMs();
    const took = ms < shownMs ? '' : ` (${(ms / 1000).toFixed(1)} s)`;
    if (told !== null) {
      const { says, parts, isWrong } = told;
      log(`${shown}: ${says}${took}`, { ...of, ms, ...parts }, isWrong ? 'warn' : 'info');
    }
    return answer;
  } catch (error) {
    const known = error instanceof QuorumshiftError;
    const code = known ? error.code : null;
    const parts = { ...of, ms: tookMs(), code };
    const wasStopped = attempt.signal.aborted && !known;
    const reason = messageOf(error);
    if (wasStopped) log(`${shown}: the attempt was stopped`, parts);
    else if (code === 'record.superseded') log(`${shown}: ${reason}`, parts);
    else log(`${shown}: attempt ${attempt.attempt} failed: ${reason}`, parts, 'warn');
    throw error;
  }
}

/**
 * The ledger of a replica's hooks: which session of processes the last one was launched in,
 * recorded before it can do anything (OPS-7), so that an agent that comes back knows whether it is
 * still there.
 *
 * A session is known by its first process: pid, start time and boot. Its id is not given away while
 * any of its processes lives, whatever groups they form.
 */
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

import { fail } from '../core/errors.ts';
import type { FileLayer } from '../storage/file-layer.ts';
import { isErrno, readWhole, writeDurably } from '../storage/files.ts';

/** As stored; `gone` once the whole session has been seen to have ended. */
export interface HookLedger {
  readonly format: 'quorumshift-hooks/1';
  readonly hook: string;
  readonly replica: string;
  /** Of the first process, and the session's id. */
  readonly pid: number;
  /** Ticks since boot, as in /proc/<pid>/stat. */
  readonly startTicks: string;
  readonly bootId: string;
  readonly gone: boolean;
}

const maxLedgerBytes = 64 * 1024;

/** Between two looks at /proc while waiting; one look takes about a millisecond. */
const pollMs = 20;

/** From SIGTERM to SIGKILL: time for a script to clean up. */
export const defaultGraceMs = 5000;

export async function readLedger(files: FileLayer, path: string): Promise<HookLedger | null> {
  const bytes = await readWhole(files, path, maxLedgerBytes);
  if (bytes === null) return null;
  try {
    // Written whole by writeLedger alone: its shape is its own.
    const ledger = JSON.parse(bytes.toString('utf8')) as HookLedger;
    if (ledger.format === 'quorumshift-hooks/1') return ledger;
  } catch (cause) {
    throw fail('data.corrupt', { file: path, offset: 0, reason: 'it is no JSON' }, { cause });
  }
  throw fail('data.corrupt', { file: path, offset: 0, reason: 'its format is unknown' });
}

export async function writeLedger(
  files: FileLayer,
  path: string,
  ledger: HookLedger,
): Promise<void> {
  await writeDurably(files, path, Buffer.from(`${JSON.stringify(ledger)}\n`));
}

/** What identifies a process that has just begun; null when it has ended already. */
export async function identify(
  pid: number,
): Promise<Pick<HookLedger, 'pid' | 'startTicks' | 'bootId'> | null> {
  const found = await processStat(pid);
  return found && { pid, startTicks: found.startTicks, bootId: await readBootId() };
}

/**
 * Processes of the session that are alive; none after a reboot, nor when its id has a new owner.
 */
export async function livingProcesses(ledger: HookLedger): Promise<number[]> {
  if (ledger.gone || ledger.bootId !== (await readBootId())) return [];
  const first = await processStat(ledger.pid);
  if (first !== null && first.startTicks !== ledger.startTicks) return [];
  const living: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const found = await processStat(Number(name));
    if (found?.session === ledger.pid && !'ZX'.includes(found.state)) living.push(Number(name));
  }
  return living;
}

/** Waits until the session has ended; whether it has, within `timeoutMs`. */
export async function waitUntilGone(ledger: HookLedger, timeoutMs: number): Promise<boolean> {
  const until = performance.now() + timeoutMs;
  while ((await livingProcesses(ledger)).length > 0) {
    if (performance.now() >= until) return false;
    await delay(pollMs);
  }
  return true;
}

/** SIGTERM to every process of the session, after the grace SIGKILL; resolves when all are gone. */
export async function killSession(ledger: HookLedger, graceMs = defaultGraceMs): Promise<void> {
  signalAll(await livingProcesses(ledger), 'SIGTERM');
  if (await waitUntilGone(ledger, graceMs)) return;
  // Again and again: a process may have begun another one in between.
  do signalAll(await livingProcesses(ledger), 'SIGKILL');
  while (!(await waitUntilGone(ledger, pollMs)));
}

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (!isErrno(error, 'ESRCH')) throw error;
    }
  }
}

async function readBootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}

/** proc(5): fields 3 (state), 6 (session) and 22 (start time), after the command in parentheses. */
async function processStat(
  pid: number,
): Promise<{ state: string; session: number; startTicks: string } | null> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0] ?? '', session: Number(fields[3]), startTicks: fields[19] ?? '' };
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ESRCH')) return null;
    throw error;
  }
}

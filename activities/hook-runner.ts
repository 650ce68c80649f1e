/**
 * Runs an operator's commands, one at a time for each replica (OPS-7).
 *
 * The command's process begins as a gate: a shell, in a session of its own, that waits for a line
 * and only then becomes the command. The ledger is durable before the line is sent. Should the
 * agent die in between, the gate reads the end of its input and ends: nothing ran that is not
 * recorded.
 *
 * What the command prints goes to files beside the ledger, not to pipes: a command outlives an
 * agent that dies, and a pipe without a reader would kill it at its next line. `hook-output.ts`
 * keeps them short.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fail, type QuorumshiftError } from '../core/errors.ts';
import type { FileLayer } from '../storage/file-layer.ts';
import { commandEnvironment } from './command-environment.ts';
import { keptShort, openOutput, readTail, type HookOutput } from './hook-output.ts';
import {
  identify,
  killSession,
  livingProcesses,
  readLedger,
  waitUntilGone,
  writeLedger,
  type HookLedger,
} from './hook-ledger.ts';

export interface HookRun {
  /** `stop`, `repoint`, `replace`, `start` or `probe`. */
  readonly hook: string;
  readonly replica: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Added to the few variables that every command gets: the agent's own may hold secrets. */
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly ledgerPath: string;
  readonly files: FileLayer;
  /** Ends the command as a time-out does. */
  readonly signal?: AbortSignal;
  /**
   * Runs the launch: look, spawn, record, open the gate. A step gives its guard, so that a late
   * attempt launches nothing and two attempts do not launch at once (OPS-5).
   */
  readonly guard?: <T>(launch: () => Promise<T>) => Promise<T>;
  /** From SIGTERM to SIGKILL. */
  readonly graceMs?: number;
}

export interface HookResult {
  /** The last 4 KiB. */
  readonly stdoutTail: string;
  readonly stderrTail: string;
  readonly durationMs: number;
}

export interface PreviousHook {
  readonly files: FileLayer;
  readonly ledgerPath: string;
}

/** Of those, what an error's message carries. */
const messageCharacters = 400;

const gateScript = 'read go && exec "$@"';

/**
 * Runs the command to its end. A process that it leaves behind in its session is left alone, but
 * keeps the next hook from starting: a start command must hand over to a supervisor, or `setsid`.
 * @throws `hook.still-running`, `hook.failed` (exit code, signal or time-out); the signal's reason
 */
export async function runHook(run: HookRun): Promise<HookResult> {
  const guard = run.guard ?? ((launch) => launch());
  const output = await openOutput(run.ledgerPath);
  try {
    run.signal?.throwIfAborted();
    const { child, ledger } = await guard(() => launchHook(run, output));
    const begun = performance.now();
    const ended = await keptShort(output, () => waitForEnd(run, child, ledger));
    const stdoutTail = await readTail(output.stdout);
    const stderrTail = await readTail(output.stderr);
    if (ended !== 'exit code 0') {
      const last = (stderrTail.trim() || stdoutTail.trim()).slice(-messageCharacters);
      throw failed(run, last === '' ? ended : `${ended}: ${last}`);
    }
    return { stdoutTail, stderrTail, durationMs: performance.now() - begun };
  } finally {
    await output.stdout.close();
    await output.stderr.close();
  }
}

/** Waits for a hook that an earlier agent launched; whether it is gone, within `timeoutMs`. */
export async function waitForPreviousHook(
  previous: PreviousHook & { readonly timeoutMs: number },
): Promise<boolean> {
  const ledger = await readLedger(previous.files, previous.ledgerPath);
  return ledger === null || waitUntilGone(ledger, previous.timeoutMs);
}

/** Ends what is left of the hook before, and returns once it is gone. */
export async function killPreviousHook(
  previous: PreviousHook & { readonly graceMs?: number },
): Promise<void> {
  const ledger = await readLedger(previous.files, previous.ledgerPath);
  if (ledger !== null) await killSession(ledger, previous.graceMs);
}

interface Launched {
  readonly child: ChildProcess;
  readonly ledger: HookLedger;
}

async function launchHook(run: HookRun, output: HookOutput): Promise<Launched> {
  const { hook, replica, files, ledgerPath } = run;
  const previous = await readLedger(files, ledgerPath);
  if (previous !== null) await requireGone(run, previous);
  // Not before: until here the files are those of the hook that was still running.
  for (const file of [output.stdout, output.stderr]) await file.truncate(0);
  const child = spawnGate(run, output);
  await started(run, child);
  try {
    const identity = await identify(child.pid ?? -1);
    if (identity === null) throw failed(run, 'it ended before it began');
    const ledger = {
      format: 'quorumshift-hooks/1',
      hook,
      replica,
      ...identity,
      gone: false,
    } as const;
    await writeLedger(files, ledgerPath, ledger);
    child.stdin?.end('go\n');
    return { child, ledger };
  } catch (error) {
    child.stdin?.destroy();
    throw error;
  }
}

async function requireGone(run: HookRun, previous: HookLedger): Promise<void> {
  if ((await livingProcesses(previous)).length === 0) return;
  throw fail('hook.still-running', { hook: run.hook, replica: run.replica, group: previous.pid });
}

function spawnGate({ command, args, env }: HookRun, output: HookOutput): ChildProcess {
  const child = spawn('/bin/sh', ['-c', gateScript, 'sh', command, ...args], {
    detached: true,
    env: commandEnvironment(env),
    stdio: ['pipe', output.stdout.fd, output.stderr.fd],
  });
  // A command that ends without reading its input is no failure.
  child.stdin?.on('error', () => {});
  return child;
}

async function started(run: HookRun, child: ChildProcess): Promise<void> {
  try {
    await once(child, 'spawn');
  } catch (cause) {
    throw fail(
      'hook.failed',
      { hook: run.hook, replica: run.replica, actual: `it cannot be started: ${String(cause)}` },
      { cause },
    );
  }
}

/** How it ended, in words. The ledger then says so, if nothing of the session is left. */
async function waitForEnd(run: HookRun, child: ChildProcess, ledger: HookLedger): Promise<string> {
  const interrupted = await exitOrInterrupt(run, child);
  if (interrupted !== null) await killSession(ledger, run.graceMs);
  if ((await livingProcesses(ledger)).length === 0) {
    await writeLedger(run.files, run.ledgerPath, { ...ledger, gone: true });
  }
  if (interrupted === 'aborted') run.signal?.throwIfAborted();
  if (interrupted !== null) return `it ran longer than ${run.timeoutMs} ms and was killed`;
  return child.signalCode === null ? `exit code ${child.exitCode}` : `ended by ${child.signalCode}`;
}

async function exitOrInterrupt(
  run: HookRun,
  child: ChildProcess,
): Promise<'timed out' | 'aborted' | null> {
  if (child.exitCode !== null || child.signalCode !== null) return null;
  return new Promise((resolve) => {
    const timer = setTimeout(() => end('timed out'), run.timeoutMs);
    const abort = () => end('aborted');
    const exit = () => end(null);
    const end = (how: 'timed out' | 'aborted' | null) => {
      clearTimeout(timer);
      run.signal?.removeEventListener('abort', abort);
      child.off('exit', exit);
      resolve(how);
    };
    child.once('exit', exit);
    run.signal?.addEventListener('abort', abort);
    if (run.signal?.aborted === true) abort();
  });
}

function failed({ hook, replica }: HookRun, actual: string): QuorumshiftError {
  return fail('hook.failed', { hook, replica, actual });
}

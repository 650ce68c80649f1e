/**
 * The restart check (EQ-2): before dual write begins, the mirror that was made is closed, opened by
 * a process that knows nothing of how it was made, and digested there.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { fail } from '../core/errors.ts';
import type { InstanceUris } from '../storage/contracts.ts';

/** Digest of the closed instance; `signal` ends the process that makes it. */
export type DigestElsewhere = (uris: InstanceUris, signal?: AbortSignal) => Promise<string>;

const program = fileURLToPath(new URL('digest-process.js', import.meta.url));

/** Behind what the replica itself needs of the processor. */
const niceness = 10;

/**
 * Once it has resolved or rejected the process is gone.
 * @throws `mirror.restart-failed` when it cannot open or read the instance; the signal's reason
 */
export const digestElsewhere: DigestElsewhere = async (uris, signal) => {
  const run = promisify(execFile)(process.execPath, [program, JSON.stringify(uris)], {
    ...(signal && { signal }),
    killSignal: 'SIGKILL',
  });
  const { pid } = run.child;
  if (pid !== undefined) setPriority(pid, niceness);
  try {
    return (await run).stdout;
  } catch (cause) {
    // One that is ended may still hold the instance.
    const { exitCode, signalCode } = run.child;
    if (pid !== undefined && exitCode === null && signalCode === null)
      await once(run.child, 'exit');
    signal?.throwIfAborted();
    const said = cause instanceof Error && 'stderr' in cause ? String(cause.stderr) : String(cause);
    const reason = said.trim().slice(0, 500);
    throw fail('mirror.restart-failed', { instance: uris.log, reason }, { cause });
  }
};

/** Ends the process of the small replica of these tests, as an operator's stop hook does. */
import { readFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';

/** @param configuration its file, which its command line names */
export async function endReplica(pidFile: string, configuration: string): Promise<void> {
  const pid = Number(await readFile(pidFile, 'utf8'));
  if (!(await isReplica(pid, configuration))) return;
  process.kill(pid, 'SIGKILL');
  while (await isReplica(pid, configuration)) await wait(5);
}

/** By its command line: a pid may have been given to another process. */
async function isReplica(pid: number, configuration: string): Promise<boolean> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).includes(configuration);
  } catch {
    return false;
  }
}

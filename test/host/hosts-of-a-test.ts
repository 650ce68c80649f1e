/** Storage hosts that end with their test, and an operator's commands to them. */
import { onTestFinished } from 'vitest';

import { runCli } from '../cli/run-cli.ts';
import { startHost, type HostPlace, type HostProcess } from './host-process.ts';

export async function started(place: HostPlace): Promise<HostProcess> {
  const host = await startHost(place);
  onTestFinished(() => host.end('SIGTERM'));
  return host;
}

/** `quorumshift replica <…>` as an operator gives it; what it prints, as JSON. */
export async function replica(place: HostPlace, ...args: readonly string[]) {
  const common = ['--socket', place.adminSocket, '-o', 'jsonl'];
  const { code, stdout, stderr } = await runCli(['replica', ...args, ...common]);
  const said = stdout.toString('utf8').trim();
  return { code, stderr, answer: said === '' ? {} : (JSON.parse(said) as Record<string, unknown>) };
}

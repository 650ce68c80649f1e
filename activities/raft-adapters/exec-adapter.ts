/**
 * Asks a member by commands of the operator's: one prints its view as JSON, another tells the
 * leader to hand over. Both see which member is meant in their environment. They are no hooks: they
 * change nothing on the machine, so several may run at once; a late one is killed.
 */
import { spawn } from 'node:child_process';

import type { ReplicaName } from '../../core/ids.ts';
import type { AdapterCommand, AdapterConfig } from '../../schemas/agent-config.ts';
import { isErrno } from '../../storage/files.ts';
import { commandEnvironment } from '../command-environment.ts';
import type { MemberAdapter } from './member-adapter.ts';
import { mostAnswerBytes, parseView } from './parse-view.ts';

/** Of what a command that failed has printed last. */
const shownCharacters = 300;

export function execAdapter(
  { status, transferLeadership }: AdapterConfig & { readonly kind: 'exec' },
  { cluster, member }: ReplicaName,
): MemberAdapter {
  const env = { QUORUMSHIFT_CLUSTER: cluster, QUORUMSHIFT_MEMBER: member };
  return {
    view: async () => parseView(await outputOf(status, env), (answer) => answer),
    transferLeadership:
      transferLeadership &&
      (async (to) => {
        await outputOf(transferLeadership, { ...env, QUORUMSHIFT_TO: to });
      }),
  };
}

/** What the command printed, once it has ended by itself, with exit code 0. */
function outputOf(
  { exec, timeoutSeconds }: AdapterCommand,
  env: Readonly<Record<string, string>>,
): Promise<string> {
  const [command = '', ...args] = exec;
  const child = spawn(command, args, {
    // A process group of its own, so that what it starts ends with it.
    detached: true,
    env: commandEnvironment(env),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return new Promise((resolve, reject) => {
    const printed: Buffer[] = [];
    let bytes = 0;
    let said = '';
    const stop = (reason: string) => {
      killGroup(child.pid);
      child.stdout.destroy();
      child.stderr.destroy();
      settle(() => reject(new Error(reason)));
    };
    const timer = setTimeout(
      () => stop(`${command} ran longer than ${timeoutSeconds} s and was killed`),
      timeoutSeconds * 1000,
    );
    const settle = (how: () => void) => {
      clearTimeout(timer);
      how();
    };
    child.stdout.on('data', (piece: Buffer) => {
      bytes += piece.length;
      if (bytes > mostAnswerBytes) stop(`${command} printed more than ${mostAnswerBytes} bytes`);
      else printed.push(piece);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-shownCharacters);
    });
    child.once('error', (cause) => {
      settle(() => reject(new Error(`${command} cannot be started: ${cause.message}`, { cause })));
    });
    // Both streams have ended by then.
    child.once('close', (code, signal) => {
      const text = Buffer.concat(printed).toString('utf8');
      const how = signal === null ? `exit code ${code}` : `ended by ${signal}`;
      const last = said.trim() || text.trim().slice(-shownCharacters);
      const why = last === '' ? how : `${how}: ${last}`;
      settle(() => (code === 0 ? resolve(text) : reject(new Error(`${command}: ${why}`))));
    });
  });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
}

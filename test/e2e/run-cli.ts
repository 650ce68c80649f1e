/** Runs the command line as users do. */
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';

import type { MigrationEnvironment } from './migration-environment.ts';

export interface CliAnswer {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** With the environment's server, and the records of its machine. */
export async function runCli(
  environment: MigrationEnvironment,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<CliAnswer> {
  const child = spawn(process.execPath, [resolve('bin/quorumshift.mjs'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      TEMPORAL_ADDRESS: environment.address,
      QUORUMSHIFT_STATE_DIR: environment.stateDir,
      NO_COLOR: '1',
      ...env,
    },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const code = await new Promise<number | null>((done) => child.once('close', done));
  return { code, stdout, stderr };
}

/** The command line as users start it: a process of its own. */
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';

export const program = resolve('bin/quorumshift.mjs');

export interface CliResult {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export function runCli(
  args: readonly string[],
  options: {
    readonly stdin?: Uint8Array;
    readonly env?: NodeJS.ProcessEnv;
    /** Ends a command that waits for something. */
    readonly signal?: AbortSignal;
  } = {},
): Promise<CliResult> {
  const env = { ...process.env, NO_COLOR: '1', ...options.env };
  const { signal } = options;
  const child = spawn(process.execPath, [program, ...args], { env, ...(signal && { signal }) });
  const stdout: Buffer[] = [];
  let stderr = '';
  child.stdout.on('data', (bytes: Buffer) => stdout.push(bytes));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  // A command that ends before it has read its input is what some tests look at.
  child.stdin.on('error', () => {});
  child.stdin.end(options.stdin);
  return new Promise((done, reject) => {
    child.once('error', reject);
    child.once('close', (code) => done({ code, stdout: Buffer.concat(stdout), stderr }));
  });
}

/** One object a line. */
export function jsonLines(bytes: Buffer): Record<string, unknown>[] {
  const lines = bytes.toString('utf8').trim().split('\n');
  return lines.map((line): Record<string, unknown> => JSON.parse(line));
}

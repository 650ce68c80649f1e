/** Runs the go command on one of the repository's modules. */
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';

export interface GoResult {
  readonly code: number | null;
  /** Both streams, in their order. */
  readonly output: string;
}

export function go(module: string, args: readonly string[]): Promise<GoResult> {
  const child = spawn('go', args, { cwd: resolve(module), stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  return new Promise((done, failed) => {
    child.once('error', failed);
    child.once('close', (code) => done({ code, output }));
  });
}

/** `quorumshift …` as an operator gives it, who may be killed while it runs. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

import { program } from '../cli/run-cli.ts';

export interface CommandResult {
  /** Null when it was killed. */
  readonly code: number | null;
  /** What it printed: one JSON object, or nothing. */
  readonly answer: Readonly<Record<string, unknown>>;
  readonly stderr: string;
}

export class OperatorCommand {
  readonly #process: ChildProcess;
  readonly ended: Promise<CommandResult>;

  constructor(args: readonly string[]) {
    const env = { ...process.env, NO_COLOR: '1' };
    this.#process = spawn(process.execPath, [program, ...args, '-o', 'jsonl'], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.ended = this.#result();
  }

  /** kill -9, and waits for the end; false when it had ended. */
  async kill(): Promise<boolean> {
    const killed = this.#process.kill('SIGKILL');
    await this.ended;
    return killed;
  }

  async #result(): Promise<CommandResult> {
    const said = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      this.#process[name]?.setEncoding('utf8').on('data', (text: string) => (said[name] += text));
    }
    const [code] = (await once(this.#process, 'close')) as [number | null];
    const text = said.stdout.trim();
    const answer: CommandResult['answer'] = code === 0 && text !== '' ? JSON.parse(text) : {};
    return { code, answer, stderr: said.stderr };
  }
}

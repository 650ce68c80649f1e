/** Processes of the command line, as users start them: each by a name of the test's own. */
import { spawn, type ChildProcess } from 'node:child_process';

import { program } from '../cli/run-cli.ts';

/** Of what they printed, enough to see why one failed. */
const shownCharacters = 4000;

export class ReadyProcesses {
  readonly #processes = new Map<string, ChildProcess>();
  readonly #output: string[] = [];

  /** `quorumshift <args>`; returns what it says when it is ready. */
  async start(name: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
    const child = spawn(process.execPath, [program, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.#processes.set(name, child);
    return new Promise<string>((ready, reject) => {
      const hear = (text: string) => {
        this.#output.push(text);
        if (text.includes('ready')) ready(text);
      };
      child.stdout.setEncoding('utf8').on('data', hear);
      child.stderr.setEncoding('utf8').on('data', hear);
      child.once('exit', (code) => reject(new Error(`${name} ended (${code}): ${this.log}`)));
    });
  }

  /** kill -9, then waits for the end. */
  async kill(name: string): Promise<void> {
    const child = this.#processes.get(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((done) => child.once('exit', done));
    child.kill('SIGKILL');
    await exited;
  }

  async killAll(): Promise<void> {
    await Promise.all([...this.#processes.keys()].map((name) => this.kill(name)));
  }

  /** The end of what all have printed. */
  get log(): string {
    return this.#output.join('').slice(-shownCharacters);
  }
}

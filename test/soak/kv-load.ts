/** Concurrent clients of the example's cluster, whose history is recorded and checked (test/go). */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

import { go } from '../go/go-module.ts';

const module = 'test/go/kv-history';

export interface LoadOptions {
  /** HTTP addresses of the nodes. */
  readonly nodes: readonly string[];
  /** Where the history is kept, and the program. */
  readonly directory: string;
  readonly seed: number;
}

/** What came of the operations so far. */
interface Outcomes {
  readonly done?: number;
  readonly mismatch?: number;
  readonly refused?: number;
  readonly unknown?: number;
}

/** What porcupine and the direct look at acknowledged writes say of a history. */
export interface Verdict {
  readonly operations: number;
  readonly unknown: number;
  readonly keys: number;
}

export class KvLoad {
  readonly #process: ChildProcess;
  readonly #program: string;
  readonly #directory: string;
  #outcomes: Outcomes = {};

  /** Builds the recorder, and starts its clients. */
  static async start({ nodes, directory, seed }: LoadOptions): Promise<KvLoad> {
    const program = join(directory, 'kv-history');
    const { code, output } = await go(module, ['build', '-o', program, '.']);
    if (code !== 0) throw new Error(`kv-history cannot be built: ${output}`);
    const args = ['load', '-nodes', nodes.join(), '-seed', String(seed)];
    const recorder = spawn(program, args, { cwd: directory, stdio: ['ignore', 'pipe', 'inherit'] });
    return new KvLoad(recorder, { program, directory });
  }

  private constructor(recorder: ChildProcess, at: { program: string; directory: string }) {
    this.#process = recorder;
    this.#program = at.program;
    this.#directory = at.directory;
    if (recorder.stdout === null) throw new Error('the recorder tells its progress');
    createInterface(recorder.stdout).on('line', (line) => {
      this.#outcomes = JSON.parse(line) as Outcomes;
    });
  }

  /** Operations that the cluster has answered. */
  get answered(): number {
    const { done = 0, mismatch = 0 } = this.#outcomes;
    return done + mismatch;
  }

  /** Each client ends the operation that it is in. */
  async stop(): Promise<void> {
    const { exitCode, signalCode } = this.#process;
    if (exitCode !== null || signalCode !== null) return;
    const ended = once(this.#process, 'close') as Promise<[number | null]>;
    this.#process.kill('SIGTERM');
    const [code] = await ended;
    if (code !== 0) throw new Error(`the recorder ended with ${code}`);
  }

  /**
   * Whether the history is linearizable, with `final` as the last reads.
   * @throws with what it is that breaks it
   */
  async check(final: Readonly<Record<string, string>>): Promise<Verdict> {
    await writeFile(join(this.#directory, 'final.json'), JSON.stringify(final));
    const args = ['check', '-final', 'final.json'];
    const checker = spawn(resolve(this.#program), args, {
      cwd: this.#directory,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [checker.stdout, checker.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (said += text));
    }
    const [code] = (await once(checker, 'close')) as [number | null];
    if (code !== 0) throw new Error(`the history in ${this.#directory}: ${said}`);
    return JSON.parse(said) as Verdict;
  }
}

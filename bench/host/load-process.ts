/** The load generator (bench/load, Go) as a process of its own. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { bash } from '../measure.ts';

/** What is appended, and how. */
export interface LoadShape {
  /** Appends that wait for their answers at a time. */
  readonly inFlight: number;
  /** Entries of one append. */
  readonly entries: number;
  readonly entryBytes: number;
}

/** Of one interval; times in microseconds, from an append's call to its answer. */
export interface LoadReport {
  readonly appends: number;
  readonly seconds: number;
  readonly p50: number;
  readonly p99: number;
  readonly longest: number;
}

export type LoadTarget =
  | { readonly store: 'host'; readonly socket: string; readonly member: string }
  | { readonly store: 'wal' | 'boltdb'; readonly directory: string };

const module = fileURLToPath(new URL('../../../bench/load', import.meta.url));

/** @returns the program's path. @throws Error when there is no Go, or it does not build */
export async function buildLoad(directory: string): Promise<string> {
  const program = `${directory}/load`;
  await bash(`cd "${module}" && go build -o "${program}" .`);
  return program;
}

export class LoadProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string, undefined>;
  #said = '';

  constructor(program: string, target: LoadTarget) {
    const args = Object.entries(target).flatMap(([name, value]) => [`--${name}`, value]);
    this.#child = spawn(program, args);
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#said += text));
    this.#answers = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  async start({ inFlight, entries, entryBytes }: LoadShape): Promise<void> {
    await this.#ask(`start ${inFlight} ${entries} ${entryBytes}`);
  }

  /** Since the last report. @throws Error when an append has failed */
  take(): Promise<LoadReport> {
    return this.#ask('take');
  }

  /** Ends the appending. @throws Error when an append has failed */
  stop(): Promise<LoadReport> {
    return this.#ask('stop');
  }

  /** Appends for so long, after a tenth of it that is not counted. */
  async run(shape: LoadShape, seconds: number): Promise<LoadReport> {
    await this.start(shape);
    await delay(seconds * 100);
    await this.take();
    await delay(seconds * 1000);
    return this.stop();
  }

  async clear(): Promise<void> {
    await this.#ask('clear');
  }

  /** Drops all but the newest entries, as a node does after a snapshot; appends go on. */
  async keep(entries: number): Promise<void> {
    await this.#ask(`keep ${entries}`);
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.stdin.end();
    await ended;
  }

  async #ask(line: string): Promise<LoadReport> {
    this.#child.stdin.write(`${line}\n`);
    const answer = await this.#answers.next();
    if (answer.done) throw new Error(`the load generator ended at "${line}": ${this.#said}`);
    return JSON.parse(answer.value) as LoadReport;
  }
}

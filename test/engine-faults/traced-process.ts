/** Runs cases in a process under the shim, and answers with their traces. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { compileShim, type EngineFault } from './fault-shim.ts';
import { parseTrace, type TraceRecord } from './operation-trace.ts';
import { allEnded, type TracedCase } from './traced-case.ts';

const script = fileURLToPath(new URL('./process-under-test.js', import.meta.url));

/** Every place instead of some: QUORUMSHIFT_LONG=1. */
export const long = process.env['QUORUMSHIFT_LONG'] === '1';

/** For one test. */
export const testTimeoutMs = long ? 3_600_000 : 60_000;

/** A case that never answers is a failure: an engine's promise that hangs. */
const timeoutMs = testTimeoutMs - 10_000;

/** Several times what a test has on the disk at a time. */
const minMemoryBytes = 2 * 1024 ** 3;

export interface CaseOptions {
  readonly scheme: string;
  readonly workload: TracedCase['workload'];
  readonly seed: number;
  readonly largeBytes?: number;
  readonly fault?: EngineFault;
  /** The directory to trace, where something is already; else a new, empty one. */
  readonly root?: string;
}

export interface TracedRun {
  readonly root: string;
  readonly uri: string;
  readonly records: readonly TraceRecord[];
}

export class TracedProcesses {
  readonly #directory: string;
  readonly #library: string;
  #places = 0;

  constructor() {
    this.#directory = mkdtempSync(join(scratchDirectory(), 'quorumshift-engine-faults-'));
    this.#library = compileShim(this.#directory);
  }

  /** Everything that was made. */
  removeAll(): void {
    rmSync(this.#directory, { recursive: true });
  }

  /** A directory that is not there yet, and the instance inside it. */
  freshPlace(scheme: string): { root: string; uri: string } {
    const root = join(this.#directory, `place-${++this.#places}`);
    return { root, uri: `${scheme}://${root}/instance` };
  }

  /** A fresh place that is removed after its use. */
  async withPlace(
    scheme: string,
    use: (place: { root: string; uri: string }) => Promise<void>,
  ): Promise<void> {
    const place = this.freshPlace(scheme);
    await use(place);
    rmSync(place.root, { recursive: true });
  }

  async runOne(options: CaseOptions): Promise<TracedRun> {
    const [run] = await this.run([options]);
    if (run === undefined) throw new Error('each case has a run');
    return run;
  }

  /** All in one process, in order; each ends before the next begins. */
  async run(cases: readonly CaseOptions[]): Promise<TracedRun[]> {
    const given = cases.map((options) => this.#caseOf(options));
    const caseFile = join(this.#directory, 'cases.json');
    writeFileSync(caseFile, JSON.stringify(given));
    const env = { ...process.env, LD_PRELOAD: this.#library, UV_USE_IO_URING: '0' };
    const options = { env, timeout: timeoutMs, killSignal: 'SIGKILL' } as const;
    const args = [script, this.#library, caseFile];
    const told = await new Promise<string>((resolve) => {
      execFile(process.execPath, args, options, (_ended, stdout, stderr) => {
        resolve(stdout + stderr);
      });
    });
    if (!told.includes(allEnded)) {
      const ended = told.split('\n').filter((line) => line.endsWith('has happened')).length;
      const at = JSON.stringify(given[ended]);
      throw new Error(`the process died or hung in case ${at}\ntold: ${told.slice(-2000)}`);
    }
    return given.map(({ root, uri, trace }) => {
      return { root, uri, records: parseTrace(readFileSync(trace)) };
    });
  }

  #caseOf({ scheme, largeBytes = 0, fault, root: given, ...rest }: CaseOptions): TracedCase {
    const root = given ?? this.freshPlace(scheme).root;
    mkdirSync(root, { recursive: true });
    const uri = `${scheme}://${root}/instance`;
    return { ...rest, root, uri, trace: `${root}.trace`, largeBytes, fault: fault ?? null };
  }
}

/** In memory where there is room: what is durable is the trace's word, not the disk's. */
function scratchDirectory(): string {
  const memory = '/dev/shm';
  try {
    const { bavail, bsize } = statfsSync(memory);
    return bavail * bsize >= minMemoryBytes ? memory : tmpdir();
  } catch {
    return tmpdir();
  }
}

/**
 * Runs one shell command and measures it: wall time, CPU seconds of it and its children, memory.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { ProbeReport } from './probe.ts';

export interface Measurement {
  readonly wallSeconds: number;
  /** User and system time together. */
  readonly cpuSeconds: number;
  /** Null for programs that are not ours. */
  readonly probe: ProbeReport | null;
}

const probeModule = join(fileURLToPath(new URL('.', import.meta.url)), 'probe.js');

/**
 * `script` is bash; pipes fail when any part of them fails.
 * @throws Error with the command's output when it fails
 */
export async function measure(options: {
  readonly script: string;
  /** Directory for the measurement's own file. */
  readonly scratch: string;
}): Promise<Measurement> {
  const report = join(options.scratch, 'probe.json');
  rmSync(report, { force: true });
  // bash's own clock of the whole group: the last line of stderr.
  const timed = `set -euo pipefail; TIMEFORMAT='%R %U %S'; time { ${options.script}; }`;
  const stderr = await bash(timed, {
    QUORUMSHIFT_BENCH_PROBE: report,
    NODE_OPTIONS: `--import=${probeModule}`,
  });
  const times = stderr.trim().split('\n').at(-1)?.split(' ').map(Number) ?? [];
  const [wallSeconds = Number.NaN, user = Number.NaN, system = Number.NaN] = times;
  return { wallSeconds, cpuSeconds: user + system, probe: readProbe(report) };
}

/** Runs bash to its end; resolves to what it wrote to stderr. */
export async function bash(script: string, env: Record<string, string> = {}): Promise<string> {
  const child = spawn('bash', ['-c', script], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...env },
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(stderr);
      else reject(new Error(`ended with ${code}: ${script}\n${stderr}`));
    });
  });
}

function readProbe(path: string): ProbeReport | null {
  if (!existsSync(path)) return null;
  return JSON.parse(readFileSync(path, 'utf8')) as ProbeReport;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

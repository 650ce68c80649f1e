/**
 * Runs one shell command and measures it: wall time, CPU seconds of it and its children, memory.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { ProbeReport } from './probe.ts';

export interface Measurement {
  readonly wallSeconds: number;
  /** User and system time together. */
  readonly cpuSeconds: number;
  /** The largest of our processes' figures; null for programs that are not ours. */
  readonly probe: ProbeReport | null;
}

const probeModule = join(fileURLToPath(new URL('.', import.meta.url)), 'probe.js');

/**
 * `script` is bash; pipes fail when any part of them fails.
 * @throws Error with the command's output when it fails
 */
export async function measure(options: {
  readonly script: string;
  /** Directory for the measurement's own files. */
  readonly scratch: string;
}): Promise<Measurement> {
  const reports = mkdtempSync(join(options.scratch, 'probes-'));
  // bash's own clock of the whole group: the last line of stderr.
  const timed = `set -euo pipefail; TIMEFORMAT='%R %U %S'; time { ${options.script}; }`;
  const stderr = await bash(timed, {
    QUORUMSHIFT_BENCH_PROBE: reports,
    NODE_OPTIONS: `--import=${probeModule}`,
  });
  const times = stderr.trim().split('\n').at(-1)?.split(' ').map(Number) ?? [];
  const [wallSeconds = Number.NaN, user = Number.NaN, system = Number.NaN] = times;
  const probe = readProbes(reports);
  rmSync(reports, { recursive: true });
  return { wallSeconds, cpuSeconds: user + system, probe };
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

function readProbes(directory: string): ProbeReport | null {
  const reports = readdirSync(directory).map(
    (name) => JSON.parse(readFileSync(join(directory, name), 'utf8')) as ProbeReport,
  );
  if (reports.length === 0) return null;
  return {
    peakMegabytes: Math.max(...reports.map((report) => report.peakMegabytes)),
    eventLoopP99Ms: Math.max(...reports.map((report) => report.eventLoopP99Ms)),
  };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

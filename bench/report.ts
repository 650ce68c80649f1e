/** docs/benchmarks.md: every aim with today's figure, then what was measured. */
import { cpus, release } from 'node:os';

import type { BenchmarkCase } from './cases.ts';
import type { FleetResult, FleetRun } from './fleet.ts';
import { median, type Measurement } from './measure.ts';
import {
  eventLoopP99Ms,
  medianRatio,
  peakMegabytes,
  type CaseResult,
  type StoredResults,
  type Workload,
} from './results.ts';

/** The product's bounds on every case. */
const maxPeakMegabytes = 160;
const maxEventLoopMs = 20;
/** How many times its aim a case may take for now, where it has no bound of its own. */
const timesAim = 2;

/** A case with what it measured. */
export interface ReportedCase {
  readonly benchmark: BenchmarkCase;
  readonly result: CaseResult;
}

/** One line for a terminal. */
export function resultLine(reported: ReportedCase): string {
  const [work, kind, today, aim, judgement, peak, delay] = aimCells(reported);
  return (
    `${work} (${kind}): ${today}, aim ${aim}: ${judgement}; ` +
    `peak ${peak} MB, event loop ${delay} ms, wall s ${walls(reported.result)}`
  );
}

function aimOf({ benchmark, result }: ReportedCase): number {
  return benchmark.aim[result.kind];
}

function judgementOf(reported: ReportedCase): string {
  const ratio = medianRatio(reported.result);
  const { atMost } = reported.benchmark;
  if (ratio <= aimOf(reported)) return 'met';
  const within = ratio <= (atMost ?? aimOf(reported) * timesAim) ? 'within' : 'above';
  return `${within} ${atMost ?? `${timesAim} ×`}`;
}

function aimCells(reported: ReportedCase): string[] {
  const { benchmark, result } = reported;
  const bounded = (value: number, limit: number, digits: number) =>
    value > limit ? `**${value.toFixed(digits)}**` : value.toFixed(digits);
  return [
    benchmark.name,
    result.kind,
    medianRatio(result).toFixed(2),
    aimOf(reported).toFixed(2),
    judgementOf(reported),
    bounded(peakMegabytes(result), maxPeakMegabytes, 0),
    bounded(eventLoopP99Ms(result), maxEventLoopMs, 1),
  ];
}

function medianOf(list: readonly Measurement[], pick: (one: Measurement) => number): string {
  return median(list.map(pick)).toFixed(2);
}

function walls({ pairs }: CaseResult): string {
  const wall = (one: Measurement) => one.wallSeconds;
  const ours = pairs.map((pair) => pair.ours);
  const reference = pairs.map((pair) => pair.reference);
  return `${medianOf(ours, wall)} / ${medianOf(reference, wall)}`;
}

function measuredCells({ benchmark, result }: ReportedCase): string[] {
  const { pairs, kind } = result;
  const cpu = (one: Measurement) => one.cpuSeconds;
  const ratios = pairs.map(({ ours, reference }) =>
    (ours.wallSeconds / reference.wallSeconds).toFixed(2),
  );
  const ours = pairs.map((pair) => pair.ours);
  const reference = pairs.map((pair) => pair.reference);
  return [
    benchmark.name,
    benchmark.referenceName,
    kind,
    walls(result),
    `${medianOf(ours, cpu)} / ${medianOf(reference, cpu)}`,
    ratios.join(', '),
  ];
}

/** `texts` columns to the left, the others, figures, to the right. */
function table(
  headings: readonly string[],
  texts: number,
  rows: readonly (readonly string[])[],
): string {
  const rulers = headings.map((_heading, column) => (column < texts ? '---' : '---:'));
  return [headings, rulers, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** Of each case above its aim, what keeps it there. */
function limits(cases: readonly ReportedCase[]): string {
  const missing = cases.filter((one) => medianRatio(one.result) > aimOf(one));
  const names = new Set(missing.map(({ benchmark }) => benchmark));
  return [...names].map(({ name, limitedBy }) => `- **${name}**: ${limitedBy}`).join('\n');
}

export function benchmarkDocument(
  cases: readonly ReportedCase[],
  { workload, fleet }: Omit<StoredResults, 'results'>,
): string {
  const aims = table(
    ['work', 'payload', 'ratio', 'aim', 'judgement', 'peak MB', 'event loop p99 ms'],
    2,
    cases.map(aimCells),
  );
  const measured = table(
    ['work', 'reference', 'payload', 'wall s', 'CPU s', 'ratio of each pair'],
    3,
    cases.map(measuredCells),
  );
  const parts = [
    '# Benchmarks',
    'Written by `npm run bench` from docs/benchmarks.json; do not edit by hand.',
    '## Aims',
    'Ratio: our wall time to that of the plain tool for the same job; below 1 we are faster. ' +
      'Twice the aim is what is asked for now; of an import into RocksDB, which limits it, a ' +
      `ratio of 1.5. Memory is to stay below ${maxPeakMegabytes} MB and the event loop's delay below ${maxEventLoopMs} ` +
      'ms, whatever the size; figures above are bold.',
    aims,
    '## What limits those above their aim',
    limits(cases),
    '## Measured',
    'Wall and CPU seconds: medians, ours / the reference; CPU is user and system time together.',
    measured,
    ...(fleet === null ? [] : ['## Fleets', fleetSection(fleet)]),
    '## How',
    howMeasured(workload),
  ];
  return `${parts.join('\n\n')}\n`;
}

function fleetSection({ shape, pairs }: FleetResult): string {
  const { clusters, members, machines, window } = shape;
  const ratios = pairs.map(({ ours, reference }) => ours.wallSeconds / reference.wallSeconds);
  const cells = (name: string, runs: readonly FleetRun[]) => {
    const pick = (of: (run: FleetRun) => number, digits: number) =>
      median(runs.map(of)).toFixed(digits);
    const rate = (run: FleetRun) => run.activities / run.wallSeconds;
    return [
      name,
      pick((run) => run.activities, 0),
      pick((run) => run.wallSeconds, 1),
      pick(rate, 1),
    ];
  };
  const rows = [
    cells(
      'rollout',
      pairs.map(({ ours }) => ours),
    ),
    cells(
      'no-ops',
      pairs.map(({ reference }) => reference),
    ),
  ];
  return (
    `A fleet of ${clusters} clusters of ${members} on ${machines} simulated machines (real workflows ` +
    `and activities, storage in memory), ${window} clusters at once, against ${clusters} children in ` +
    'the same window that run as many activities which do nothing, on the same Temporal ' +
    'development server (SQLite in memory, synced on every commit). Medians of the pairs.\n\n' +
    `${table(['run', 'activities', 'wall s', 'activities a second'], 1, rows)}\n\n` +
    `Ratio of wall times: ${median(ratios).toFixed(2)}; of each pair: ` +
    `${ratios.map((ratio) => ratio.toFixed(2)).join(', ')}.`
  );
}

function howMeasured({ size, entryBytes, seed }: Workload): string {
  const [cpu] = cpus();
  return (
    `${size} of ${entryBytes}-byte entries, seed ${seed}; "text" looks like a service's log and ` +
    `compresses about 3:1 by LZ4, "random" does not compress. Ours and the reference run in ` +
    'pairs of alternating order, after one uncounted run of each; the page cache is warm for ' +
    "both. Every result is durable before the clock stops. A ratio is the median of its pairs'. " +
    "Memory is the kernel's high-water mark of resident memory (VmHWM), program included; it and " +
    "the event loop's delay are the largest of all pairs and all processes of a pipe.\n\n" +
    `Machine: ${cpus().length} × ${cpu?.model ?? 'unknown'}, Linux ${release()}, ` +
    `Node ${process.versions.node}.`
  );
}

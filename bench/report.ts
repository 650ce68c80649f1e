/** docs/benchmarks.md, written from one run. */
import { cpus, release } from 'node:os';

import type { BenchmarkCase } from './cases.ts';
import { median, type Measurement } from './measure.ts';
import type { PayloadKind } from './payload-source.ts';

export interface CaseResult {
  readonly benchmark: BenchmarkCase;
  readonly kind: PayloadKind;
  /** One pair for each round. */
  readonly pairs: readonly { readonly ours: Measurement; readonly reference: Measurement }[];
}

const headings = [
  'work',
  'reference',
  'payload',
  'ratio',
  'aim',
  'wall s, ours / reference',
  'CPU s, ours / reference',
  'peak MB',
  'event loop p99 ms',
];

/** Texts to the left, figures to the right. */
const rulers = headings.map((_heading, column) => (column < 3 ? '---' : '---:'));

/** The median of the ratios of each pair, so that a slow minute of the machine counts for both. */
export function medianRatio(result: CaseResult): number {
  return median(
    result.pairs.map(({ ours, reference }) => ours.wallSeconds / reference.wallSeconds),
  );
}

export function resultLine(result: CaseResult): string {
  const ours = result.pairs.map((pair) => pair.ours);
  const reference = result.pairs.map((pair) => pair.reference);
  const peak = Math.max(...ours.map(({ probe }) => probe?.peakMegabytes ?? Number.NaN));
  const delay = Math.max(...ours.map(({ probe }) => probe?.eventLoopP99Ms ?? Number.NaN));
  const of = (list: readonly Measurement[], pick: (one: Measurement) => number) =>
    median(list.map(pick)).toFixed(2);
  const cells = [
    result.benchmark.name,
    result.benchmark.referenceName,
    result.kind,
    medianRatio(result).toFixed(2),
    result.benchmark.aim[result.kind]?.toFixed(2) ?? '',
    `${of(ours, (one) => one.wallSeconds)} / ${of(reference, (one) => one.wallSeconds)}`,
    `${of(ours, (one) => one.cpuSeconds)} / ${of(reference, (one) => one.cpuSeconds)}`,
    peak.toFixed(0),
    delay.toFixed(1),
  ];
  return `| ${cells.join(' | ')} |`;
}

export function benchmarkDocument(options: {
  readonly results: readonly CaseResult[];
  readonly size: string;
  readonly entryBytes: number;
  readonly seed: number;
}): string {
  const { results, size, entryBytes, seed } = options;
  const pairs = results[0]?.pairs.length ?? 0;
  const [cpu] = cpus();
  const how =
    `${size} of ${entryBytes}-byte entries, seed ${seed}; "text" looks like a service's log and ` +
    `compresses about 3:1 by LZ4, "random" does not compress. Pairs for each line: ${pairs}, ours ` +
    'and the reference in alternating order, page cache warm for both. Every result is durable ' +
    "before the clock stops. The ratio is the median of the pairs' ratios of wall time, ours to " +
    'the reference: below 1 we are faster. CPU seconds are user and system time together. Memory ' +
    'and event-loop delay are the largest seen, of our process (of a pipe: the last to end).';
  const machine =
    `Machine: ${cpus().length} × ${cpu?.model ?? 'unknown'}, Linux ${release()}, ` +
    `Node ${process.versions.node}.`;
  const written = 'Written by `npm run bench`; do not edit by hand.';
  const table = [headings.join(' | '), rulers.join(' | ')].map((row) => `| ${row} |`);
  const rows = [...table, ...results.map(resultLine)].join('\n');
  return `${['# Benchmarks', written, how, machine, rows].join('\n\n')}\n`;
}

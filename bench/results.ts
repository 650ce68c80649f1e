/**
 * Measurements on disk (docs/benchmarks.json), so that a run of some cases replaces theirs in the
 * document and keeps the others. Results of another size, entry size or seed are not comparable and
 * are dropped.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

import type { FleetResult } from './fleet.ts';
import { median, type Measurement } from './measure.ts';
import type { PayloadKind } from './payload-source.ts';

/** What one case measured for one kind of payload. */
export interface CaseResult {
  /** {@link BenchmarkCase.name}. */
  readonly name: string;
  readonly kind: PayloadKind;
  /** One pair for each round. */
  readonly pairs: readonly { readonly ours: Measurement; readonly reference: Measurement }[];
}

/** What every result of a document was measured on. */
export interface Workload {
  readonly size: string;
  readonly entryBytes: number;
  readonly seed: number;
}

export interface StoredResults {
  readonly workload: Workload;
  readonly results: readonly CaseResult[];
  /** Null: never measured. It is of no workload. */
  readonly fleet: FleetResult | null;
}

/** The stored results of the same workload, with those of the same case and kind replaced. */
export function mergedResults(
  path: string,
  { workload, results, fleet }: StoredResults,
): StoredResults {
  const stored = readResults(path);
  const same = JSON.stringify(stored?.workload) === JSON.stringify(workload);
  const kept = same ? (stored?.results ?? []) : [];
  const isNew = (old: CaseResult) =>
    results.some(({ name, kind }) => name === old.name && kind === old.kind);
  const merged = [...kept.filter((old) => !isNew(old)), ...results];
  return { workload, results: merged, fleet: fleet ?? stored?.fleet ?? null };
}

function readResults(path: string): StoredResults | null {
  if (!existsSync(path)) return null;
  return JSON.parse(readFileSync(path, 'utf8')) as StoredResults;
}

export function writeResults(path: string, stored: StoredResults): void {
  writeFileSync(path, `${JSON.stringify(stored, null, 1)}\n`);
}

/** The median of the ratios of each pair, so that a slow minute of the machine counts for both. */
export function medianRatio({ pairs }: CaseResult): number {
  return median(pairs.map(({ ours, reference }) => ours.wallSeconds / reference.wallSeconds));
}

/** The largest resident memory of ours in any pair, in 10^6 bytes. */
export function peakMegabytes({ pairs }: CaseResult): number {
  return Math.max(...pairs.map(({ ours }) => ours.probe?.peakMegabytes ?? Number.NaN));
}

/** The 99th percentile of our event loop's delay, the largest of the pairs. */
export function eventLoopP99Ms({ pairs }: CaseResult): number {
  return Math.max(...pairs.map(({ ours }) => ours.probe?.eventLoopP99Ms ?? Number.NaN));
}

/**
 * Compares quorumshift with tar, lz4 and openssl on one generated braft directory:
 *
 *     npm run bench -- --bytes 1GiB --pairs 5
 *     npm run bench -- --only "import into" --kinds text
 *     npm run bench -- --bytes 64MiB --pairs 1 --only export --print
 *     npm run bench -- --only fleet --pairs 3
 *
 * A run of some cases replaces theirs in docs/benchmarks.md and keeps the others.
 * Pairs run as A B, B A, A B, … in one process, so that what the machine does besides hits both.
 * Needs three to four times `--bytes` of disk under `--work`.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { writeBraftDirectory } from './braft-directory.ts';
import { parseByteSize } from './byte-size.ts';
import { findTemporalBinary } from '../worker/temporal-server-source.ts';
import { benchmarkCases, quorumshift, type BenchmarkCase, type Workplace } from './cases.ts';
import { measureFleet, type FleetResult } from './fleet.ts';
import { bash, measure, type Measurement } from './measure.ts';
import type { PayloadKind } from './payload-source.ts';
import { benchmarkDocument, resultLine, type ReportedCase } from './report.ts';
import { mergedResults, writeResults, type CaseResult } from './results.ts';

const { values } = parseArgs({
  options: {
    bytes: { type: 'string', default: '1GiB' },
    'entry-bytes': { type: 'string', default: '1024' },
    pairs: { type: 'string', default: '5' },
    seed: { type: 'string', default: '1' },
    /** Only cases whose name has one of these in it, split at commas. */
    only: { type: 'string', default: '' },
    kinds: { type: 'string', default: 'text,random' },
    work: { type: 'string', default: tmpdir() },
    /** Print the document of this run instead of writing docs/benchmarks.md. */
    print: { type: 'boolean', default: false },
  },
});

const pairs = Number(values.pairs);
const seed = Number(values.seed);
const entryBytes = parseByteSize(values['entry-bytes']);
const workload = { size: values.bytes, entryBytes, seed };
const wanted = values.only.split(',');
const isWanted = (name: string) => wanted.some((part) => name.includes(part));
const cases = benchmarkCases.filter(({ name }) => isWanted(name));
const work = mkdtempSync(join(values.work, 'quorumshift-bench-'));
try {
  const results: CaseResult[] = [];
  // Without a case (`--only none`) the document is written anew from what is stored.
  const kinds = cases.length === 0 ? [] : kindsOf(values.kinds);
  for (const kind of kinds) results.push(...(await runKind(kind)));
  const fleet = isWanted('fleet') ? await runFleet() : null;
  if (!values.print) save([], fleet);
  else console.log(benchmarkDocument(reported(results), { workload, fleet }));
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** After each case: a run that is stopped leaves those that it has measured. */
function save(results: readonly CaseResult[], fleet: FleetResult | null): void {
  const docs = fileURLToPath(new URL('../../docs/', import.meta.url));
  const stored = join(docs, 'benchmarks.json');
  const merged = mergedResults(stored, { workload, results, fleet });
  writeResults(stored, merged);
  writeFileSync(join(docs, 'benchmarks.md'), benchmarkDocument(reported(merged.results), merged));
}

async function runFleet(): Promise<FleetResult> {
  const log = (line: string) => console.log(line);
  const { binary: bin } = await findTemporalBinary({ env: process.env, install: true, log });
  return measureFleet({ bin, pairs, log });
}

/** In the order of the cases, text before random. */
function reported(results: readonly CaseResult[]): ReportedCase[] {
  return benchmarkCases.flatMap((benchmark) =>
    results
      .filter(({ name }) => name === benchmark.name)
      .toSorted((a, b) => -a.kind.localeCompare(b.kind))
      .map((result) => ({ benchmark, result })),
  );
}

function kindsOf(text: string): PayloadKind[] {
  return text.split(',').map((kind) => {
    if (kind !== 'text' && kind !== 'random') throw new TypeError(`no such payload: ${kind}`);
    return kind;
  });
}

async function runKind(kind: PayloadKind): Promise<CaseResult[]> {
  const at = await prepare(kind);
  const results: CaseResult[] = [];
  for (const benchmark of cases) {
    const result = await runCase({ benchmark, kind, at });
    console.log(resultLine({ benchmark, result }));
    results.push(result);
    if (!values.print) save([result], null);
  }
  rmSync(join(work, kind), { recursive: true });
  return results;
}

/** The inputs of every case, made once and synced. */
async function prepare(kind: PayloadKind): Promise<Workplace> {
  const place = join(work, kind);
  const at = {
    source: join(place, 'source'),
    twin: join(place, 'twin'),
    image: join(place, 'image'),
    archive: join(place, 'archive.tar.lz4'),
    output: join(place, 'output'),
  };
  console.log(`generating ${values.bytes} of ${kind} in ${place}`);
  const bytes = parseByteSize(values.bytes);
  // The same seed: the twin has the same state.
  for (const directory of [at.source, at.twin]) {
    writeBraftDirectory({ directory, bytes, entryBytes, kind, seed });
  }
  await bash(quorumshift(`export "local://${at.source}" --image "${at.image}"`));
  if (cases.some(({ name }) => name === 'verify local with rocksdb')) {
    await bash(quorumshift(`import --image "${at.image}" "rocksdb://${at.twin}-rocksdb"`));
  }
  await bash(`tar -C "${at.source}" -c . | lz4 -q -c > "${at.archive}"; sync`);
  return at;
}

async function runCase(options: {
  readonly benchmark: BenchmarkCase;
  readonly kind: PayloadKind;
  readonly at: Workplace;
}): Promise<CaseResult> {
  const { benchmark, kind, at } = options;
  const runs = { ours: benchmark.ours(at), reference: benchmark.reference(at) };
  // Not counted: the page cache and the program's own pages become warm for both.
  await runOnce(runs.reference, at);
  await runOnce(runs.ours, at);
  const measured: CaseResult['pairs'][number][] = [];
  for (let round = 0; round < pairs; round++) {
    if (round % 2 === 0) {
      const ours = await runOnce(runs.ours, at);
      measured.push({ ours, reference: await runOnce(runs.reference, at) });
    } else {
      const reference = await runOnce(runs.reference, at);
      measured.push({ ours: await runOnce(runs.ours, at), reference });
    }
  }
  return { name: benchmark.name, kind, pairs: measured };
}

/** What the run before left to be written must not be paid for by the next. */
async function runOnce(script: string, at: Workplace): Promise<Measurement> {
  if (existsSync(at.output)) rmSync(at.output, { recursive: true });
  await bash('sync');
  return measure({ script, scratch: work });
}

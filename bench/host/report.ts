/** docs/benchmarks-host.md, and what it is made of (docs/benchmarks-host.json). */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { aimText, formatted, isMet, valueOf, type Figure, type Section } from './figures.ts';

const docs = fileURLToPath(new URL('../../../docs/', import.meta.url));
const stored = join(docs, 'benchmarks-host.json');

/** Sections of a run replace theirs; the others stay. `titles` is the order of all. */
export function save(measured: readonly Section[], titles: readonly string[]): void {
  const before = existsSync(stored)
    ? (JSON.parse(readFileSync(stored, 'utf8')) as readonly Section[])
    : [];
  const sections = titles.flatMap(
    (title) => [...measured, ...before].find((section) => section.title === title) ?? [],
  );
  writeFileSync(stored, `${JSON.stringify(sections, null, 1)}\n`);
  writeFileSync(join(docs, 'benchmarks-host.md'), hostDocument(sections));
}

export function hostDocument(sections: readonly Section[]): string {
  const parts = [
    '# Benchmarks of the storage host',
    'Written by `npm run bench:host` from docs/benchmarks-host.json; do not edit by hand.',
    ...sections.flatMap(({ title, figures }) => [`## ${title}`, table(figures)]),
    '## How',
    how(),
  ];
  return `${parts.join('\n\n')}\n`;
}

function table(figures: readonly Figure[]): string {
  const head = '| what | figure | aim | judgement | measured | of each |';
  const ruler = '| --- | ---: | ---: | --- | --- | --- |';
  return [head, ruler, ...figures.map((figure) => `| ${cells(figure).join(' | ')} |`)].join('\n');
}

function cells(figure: Figure): string[] {
  const met = isMet(figure);
  const judgement = met === null ? '' : met ? 'met' : '**missed**';
  const { name, measured = '', samples } = figure;
  return [
    name,
    formatted(figure, valueOf(figure)),
    aimText(figure),
    judgement,
    measured,
    each(samples),
  ];
}

/** A few one by one; of many the ends. */
function each(samples: readonly number[]): string {
  const text = (value: number) => value.toFixed(2);
  if (samples.length === 1) return '';
  if (samples.length <= 7) return samples.map(text).join(', ');
  return `${text(Math.min(...samples))} to ${text(Math.max(...samples))}`;
}

function how(): string {
  const [cpu] = cpus();
  return (
    'Host and load generator (Go, with the store of integrations/go) are processes of their own, ' +
    'on one machine. What is compared runs in turns of alternating order; a ratio is of one ' +
    'round, and the figure the median of all rounds, where nothing else is said. Payloads do not ' +
    'compress; every append is durable when it is answered. raft-wal and raft-boltdb run in the ' +
    "load generator's process.\n\n" +
    `Machine: ${cpus().length} × ${cpu?.model ?? 'unknown'}, Linux ${release()}, ` +
    `Node ${process.versions.node}.`
  );
}

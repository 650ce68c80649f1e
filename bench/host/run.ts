/**
 * Measures the storage host:
 *
 *     npm run bench:host
 *     npm run bench:host -- --only "Dual write,Idle"
 *     npm run bench:host -- --quick
 *
 * A run of some sections replaces theirs in docs/benchmarks-host.md and keeps the others; `--quick`
 * prints and writes nothing. Needs Go, and 6 GiB of disk under `--work`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { measureDisk } from './disk.ts';
import { measureDualWrite } from './dual-write.ts';
import { figureLine, type Section } from './figures.ts';
import { measureGoStores } from './go-stores.ts';
import { measureIdleReplicas } from './idle-replicas.ts';
import { measureLiveMigration } from './live-migration.ts';
import { buildLoad } from './load-process.ts';
import { save } from './report.ts';
import type { Setting } from './setting.ts';

const { values } = parseArgs({
  options: {
    /** Only sections whose title has one of these in it, split at commas. */
    only: { type: 'string', default: '' },
    quick: { type: 'boolean', default: false },
    work: { type: 'string', default: tmpdir() },
  },
});

const { quick } = values;
const sections: Readonly<Record<string, (setting: Setting) => Promise<Section['figures']>>> = {
  'The disk alone': measureDisk,
  'Dual write (local with rocksdb) against the slower family': measureDualWrite,
  'The host (local family) against stores in the Raft process': measureGoStores,
  'A live migration under load, 64 MiB, local and rocksdb': (setting) =>
    measureLiveMigration(setting, '64MiB'),
  'A live migration under load, 1 GiB, local and rocksdb': (setting) =>
    measureLiveMigration(setting, quick ? '256MiB' : '1GiB'),
  'Idle replicas (local family)': measureIdleReplicas,
};

const begun = performance.now();
const log = (text: string) => {
  console.log(`${((performance.now() - begun) / 1000).toFixed(0).padStart(4)} s  ${text}`);
};
const wanted = values.only.split(',');
const work = mkdtempSync(join(values.work, 'quorumshift-bench-host-'));
try {
  const setting: Setting = { work, load: await buildLoad(work), quick, log };
  for (const [title, measure] of Object.entries(sections)) {
    if (!wanted.some((part) => title.includes(part))) continue;
    log(title);
    const section = { title, figures: await measure(setting) };
    for (const figure of section.figures) console.log(`        ${figureLine(figure)}`);
    if (!quick) save([section], Object.keys(sections));
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}

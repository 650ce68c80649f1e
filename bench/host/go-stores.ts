/** The host, seen by hashicorp/raft's store of integrations/go, against stores in process. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { median } from '../measure.ts';
import type { Figure } from './figures.ts';
import { HostProcess } from './host-process.ts';
import { LoadProcess, type LoadReport, type LoadShape } from './load-process.ts';
import { alternating, type Setting } from './setting.ts';

type Store = 'host' | 'wal' | 'boltdb';

export async function measureGoStores(setting: Setting): Promise<Figure[]> {
  const one = { inFlight: 1, entries: 1, entryBytes: 1024 };
  const batch = { inFlight: 1, entries: 64, entryBytes: 1024 };
  const host = await HostProcess.start(join(setting.work, 'go'), { local: 'local' });
  try {
    const wal = await measurePairs(setting, { host, other: 'wal', shape: one });
    const boltdb = await measurePairs(setting, { host, other: 'boltdb', shape: batch });
    const walBatch = await measurePairs(setting, { host, other: 'wal', shape: batch });
    const entryRate = ({ appends, seconds }: LoadReport) => (appends * batch.entries) / seconds;
    const p50 = ({ p50: value }: LoadReport) => value;
    return [
      {
        ...ratios('appends of one entry, p50, against raft-wal', wal, { of: p50, unit: 'µs' }),
        aim: { atMost: 1.3 },
      },
      ratios('appends of 64 entries, p50, against raft-wal', walBatch, { of: p50, unit: 'µs' }),
      {
        ...ratios('appends of 64 entries, throughput, against raft-boltdb', boltdb, {
          of: entryRate,
          unit: 'entries/s',
        }),
        aim: { atLeast: 2 },
      },
    ];
  } finally {
    await host.stop();
  }
}

/** Of one round. */
interface Pair {
  readonly host: LoadReport;
  readonly other: LoadReport;
}

async function measurePairs(
  setting: Setting,
  { host, other, shape }: { host: HostProcess; other: 'wal' | 'boltdb'; shape: LoadShape },
): Promise<Pair[]> {
  const pairs: Pair[] = [];
  for (const { order } of alternating(['host', other] as const, setting.quick ? 1 : 7)) {
    const reports = new Map<Store, LoadReport>();
    for (const store of order)
      reports.set(store, await measureOnce(setting, { host, store, shape }));
    const [onHost, onOther] = [reports.get('host'), reports.get(other)];
    if (onHost !== undefined && onOther !== undefined) pairs.push({ host: onHost, other: onOther });
  }
  const text = ({ p50, p99 }: LoadReport) => `p50 ${p50.toFixed(0)} p99 ${p99.toFixed(0)} µs`;
  for (const pair of pairs) {
    setting.log(`  host ${text(pair.host)}; ${other} ${text(pair.other)}`);
  }
  return pairs;
}

async function measureOnce(
  { work, load, quick }: Setting,
  { host, store, shape }: { host: HostProcess; store: Store; shape: LoadShape },
): Promise<LoadReport> {
  const directory = join(work, 'go-store');
  mkdirSync(directory, { recursive: true });
  const process = new LoadProcess(
    load,
    store === 'host' ? { store, socket: host.socket, member: 'local' } : { store, directory },
  );
  try {
    const report = await process.run(shape, quick ? 0.5 : 1.5);
    if (store === 'host') await process.clear();
    return report;
  } finally {
    await process.end();
    rmSync(directory, { recursive: true });
  }
}

function ratios(
  name: string,
  pairs: readonly Pair[],
  { of, unit }: { of: (report: LoadReport) => number; unit: string },
): Figure {
  const middle = (side: keyof Pair) => median(pairs.map((pair) => of(pair[side]))).toFixed(0);
  return {
    name,
    unit: 'ratio',
    samples: pairs.map(({ host, other }) => of(host) / of(other)),
    measured: `${middle('host')} / ${middle('other')} ${unit}`,
  };
}

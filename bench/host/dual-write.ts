/** Appends through the host: dual write against each of its two families alone. */
import { join } from 'node:path';

import { median } from '../measure.ts';
import type { Figure } from './figures.ts';
import { HostProcess } from './host-process.ts';
import { LoadProcess, type LoadReport, type LoadShape } from './load-process.ts';
import { alternating, type Setting } from './setting.ts';

const members = ['local', 'rocksdb', 'dual'] as const;
type Member = (typeof members)[number];

type Round = Readonly<Record<Member, LoadReport>>;

export async function measureDualWrite(setting: Setting): Promise<Figure[]> {
  const { quick, log } = setting;
  const [inFlight, sizes] = quick
    ? [[1, 16], [1024]]
    : [
        [1, 16, 64],
        [1024, 64 * 1024],
      ];
  const host = await HostProcess.start(join(setting.work, 'dual'), {
    local: 'local',
    rocksdb: 'rocksdb',
    dual: 'local',
  });
  const loads = new Map(members.map((member) => [member, loadOn(host, setting, member)]));
  const figures: Figure[] = [];
  try {
    await host.mirror('dual', `rocksdb://${host.directory}/dual-mirror`);
    for (const entryBytes of sizes) {
      for (const count of inFlight) {
        const shape = { inFlight: count, entries: 1, entryBytes };
        const rounds = await measureRounds(loads, shape, quick);
        figures.push(...figuresOf(shape, rounds));
        log(`dual write, ${shapeText(shape)}: ${members.map((m) => line(rounds, m)).join('; ')}`);
      }
    }
  } finally {
    for (const load of loads.values()) await load.end();
    await host.stop();
  }
  return figures;
}

function loadOn(host: HostProcess, { load }: Setting, member: string): LoadProcess {
  return new LoadProcess(load, { store: 'host', socket: host.socket, member });
}

async function measureRounds(
  loads: ReadonlyMap<Member, LoadProcess>,
  shape: LoadShape,
  quick: boolean,
): Promise<Round[]> {
  const seconds = quick ? 0.5 : 1.5;
  const rounds: Round[] = [];
  for (const { order } of alternating(members, quick ? 1 : 5)) {
    const reports: [Member, LoadReport][] = [];
    for (const member of order) {
      const load = loads.get(member);
      if (load === undefined) continue;
      reports.push([member, await load.run(shape, seconds)]);
      await load.clear();
    }
    rounds.push(Object.fromEntries(reports) as Round);
  }
  return rounds;
}

const rate = ({ appends, seconds }: LoadReport) => appends / seconds;

function figuresOf(shape: LoadShape, rounds: readonly Round[]): Figure[] {
  const against = (value: (report: LoadReport) => number, slower: typeof Math.max) =>
    rounds.map((round) => value(round.dual) / slower(value(round.local), value(round.rocksdb)));
  const texts = (value: (report: LoadReport) => number, unit: string) =>
    members
      .map((member) => `${member} ${median(rounds.map((r) => value(r[member]))).toFixed(0)}`)
      .join(', ')
      .concat(` ${unit}`);
  const text = shapeText(shape);
  return [
    {
      name: `${text}: p50`,
      unit: 'ratio',
      samples: against(({ p50 }) => p50, Math.max),
      aim: { atMost: 1.2 },
      measured: texts(({ p50 }) => p50, 'µs'),
    },
    {
      name: `${text}: p99`,
      unit: 'ratio',
      samples: against(({ p99 }) => p99, Math.max),
      aim: { atMost: 1.5 },
      measured: texts(({ p99 }) => p99, 'µs'),
    },
    {
      name: `${text}: throughput`,
      unit: 'ratio',
      samples: against(rate, Math.min),
      aim: { atLeast: 0.8 },
      measured: texts(rate, 'appends/s'),
    },
  ];
}

function shapeText({ inFlight, entryBytes }: LoadShape): string {
  return `${entryBytes / 1024} KiB, ${inFlight} in flight`;
}

function line(rounds: readonly Round[], member: Member): string {
  const of = (value: (report: LoadReport) => number) =>
    median(rounds.map((round) => value(round[member]))).toFixed(0);
  return `${member} p50 ${of(({ p50 }) => p50)} p99 ${of(({ p99 }) => p99)} µs ${of(rate)}/s`;
}

/**
 * A replica that is written all the time: its appends while a mirror is bootstrapped, and the
 * pauses of cutovers back and forth.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { writeBraftDirectory } from '../braft-directory.ts';
import { parseByteSize } from '../byte-size.ts';
import { median } from '../measure.ts';
import type { Figure } from './figures.ts';
import { HostProcess } from './host-process.ts';
import { LoadProcess, type LoadReport } from './load-process.ts';
import type { Setting } from './setting.ts';

/** One at a time, as a leader with one client: every pause is somebody's. */
const shape = { inFlight: 1, entries: 1, entryBytes: 1024 };
const member = 'n1';

/** A host and a load on it that goes on. */
interface Live {
  readonly host: HostProcess;
  readonly load: LoadProcess;
  readonly setting: Setting;
  /** Of the state, for the reader. */
  readonly size: string;
}

export async function measureLiveMigration(setting: Setting, size: string): Promise<Figure[]> {
  const directory = join(setting.work, `live-${size}`);
  writeBraftDirectory({
    directory: join(directory, member),
    bytes: parseByteSize(size),
    entryBytes: 1024,
    kind: 'text',
    seed: 1,
  });
  try {
    const begun = await underLoad({ setting, size, directory }, measureBootstraps);
    // A host that held proofs back for the appends' sake would take too long for so many.
    const settings = { appendGuard: null };
    const cutovers = await underLoad({ setting, size, directory, settings }, measureCutovers);
    return [...begun, ...cutovers];
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Starts a host on what is in the directory, and a load on it. */
async function underLoad(
  at: Pick<Live, 'setting' | 'size'> & {
    readonly directory: string;
    readonly settings?: Readonly<Record<string, unknown>>;
  },
  measureLive: (live: Live) => Promise<Figure[]>,
): Promise<Figure[]> {
  const { setting, size, directory, settings } = at;
  const host = await HostProcess.start(directory, { [member]: 'local' }, settings);
  const load = new LoadProcess(setting.load, { store: 'host', socket: host.socket, member });
  try {
    await load.start(shape);
    const figures = await measureLive({ host, load, setting, size });
    await load.stop();
    return figures;
  } finally {
    await load.end();
    await host.stop();
  }
}

/** What a copy may take of the disk where it is limited, in bytes per second. */
const limit = 32 * 1024 * 1024;

/** The last mirror stays. */
async function measureBootstraps(live: Live): Promise<Figure[]> {
  const isSmall = live.size === '64MiB';
  const repetitions = live.setting.quick ? 1 : isSmall ? 5 : 3;
  const limited = isSmall ? await bootstraps(live, { repetitions, bytesPerSecond: limit }) : [];
  return [...limited, ...(await bootstraps(live, { repetitions, bytesPerSecond: 0 }))];
}

/** Each with an interval before it in which the replica has no mirror. */
async function bootstraps(
  { host, load, setting, size }: Live,
  how: { readonly repetitions: number; readonly bytesPerSecond: number },
): Promise<Figure[]> {
  const uri = `rocksdb://${host.directory}/mirror`;
  const intervals: { idle: LoadReport; busy: LoadReport }[] = [];
  const [seconds, drops]: [number[], number[]] = [[], []];
  for (let i = 0; i < how.repetitions; i += 1) {
    await load.keep(parseByteSize(size) / shape.entryBytes);
    const dropped = await timed(() => host.drop(member));
    if (i > 0) drops.push(dropped / 1000);
    await load.take();
    await delay(setting.quick ? 500 : 10_000);
    const idle = await load.take();
    seconds.push((await timed(() => host.mirror(member, uri, how.bytesPerSecond))) / 1000);
    const busy = await load.take();
    intervals.push({ idle, busy });
    setting.log(
      `${size}: bootstrap ${seconds.at(-1)?.toFixed(1)} s, append p50 ${busy.p50} p99 ${busy.p99} ` +
        `longest ${busy.longest} µs; idle p50 ${idle.p50} p99 ${idle.p99} µs`,
    );
  }
  const middle = (pick: (one: (typeof intervals)[number]) => number) =>
    median(intervals.map(pick)).toFixed(0);
  const ratio = {
    unit: 'ratio',
    samples: intervals.map(({ idle, busy }) => busy.p99 / idle.p99),
    aim: { atMost: 1.25 },
    measured: `${middle(({ busy }) => busy.p99)} / ${middle(({ idle }) => idle.p99)} µs`,
  } as const;
  if (how.bytesPerSecond > 0) {
    return [{ name: 'append p99 during bootstrap at 32 MiB/s, against idle', ...ratio }];
  }
  return [
    { name: 'append p99 during bootstrap without a limit, against idle', ...ratio },
    { name: 'bootstrap, until dual write has begun', unit: 's', samples: seconds },
    ...(drops.length > 0
      ? [{ name: 'rollback before a cutover (drop)', unit: 's', samples: drops } as const]
      : []),
  ];
}

/** What was sent under the barrier has its answer by then. */
const answeredMs = 20;

/** Each proven anew: a cutover raises the generation. Every second one is the way back. */
async function measureCutovers({ host, load, setting, size }: Live): Promise<Figure[]> {
  const count = setting.quick ? 4 : 50;
  const pauses: number[] = [];
  const longest: number[] = [];
  const without: number[] = [];
  const p99s: number[] = [];
  const proofs: number[] = [];
  const besides: number[] = [];
  const ways: number[] = [];
  const epoch = await host.epoch(member);
  for (let i = 0; i < count; i += 1) {
    await load.take();
    await delay(setting.quick ? 200 : 500);
    p99s.push((await load.take()).p99 / 1000);
    await delay(ways.at(-1) ?? 0);
    await delay(answeredMs);
    without.push((await load.take()).longest / 1000);
    proofs.push((await timed(() => host.prove(member))) / 1000);
    besides.push((await load.take()).p99 / 1000);
    // What the proof has left to be done shall not count.
    await delay(setting.quick ? 0 : 500);
    await load.take();
    ways.push(await timed(async () => pauses.push((await host.cutOver(member)).pauseMs)));
    await delay(answeredMs);
    longest.push((await load.take()).longest / 1000);
    if ((i + 1) % 10 !== 0) continue;
    await load.keep(parseByteSize(size) / shape.entryBytes);
    setting.log(`${size}: ${i + 1} of ${count} cutovers`);
  }
  const p99 = median(p99s);
  const backs = ways.flatMap((way, i) => (i % 2 === 1 ? [(proofs[i] ?? 0) + way / 1000] : []));
  return [
    {
      name: `pause of ${count} cutovers as the host counts it, p50`,
      unit: 'ms',
      samples: pauses,
      aim: { atMost: 5 },
    },
    { name: 'the same, p99', unit: 'ms', samples: pauses, of: 'p99' },
    {
      name: 'longest append across a cutover, p50',
      unit: 'ms',
      samples: longest,
      aim: { atMost: 5 },
    },
    {
      name: 'longest append of as long a time without a cutover, p50',
      unit: 'ms',
      samples: without,
    },
    { name: 'the same, p99', unit: 'ms', samples: without, of: 'p99' },
    {
      name: 'longest append across a cutover, p99, against append p99 in dual write',
      unit: 'ratio',
      samples: longest.map((ms) => ms / p99),
      of: 'p99',
      aim: { atMost: 2 },
      measured: `append p99 ${p99.toFixed(2)} ms`,
    },
    {
      name: 'requests that failed: sessions opened again',
      unit: 'count',
      samples: [Number((await host.epoch(member)) - epoch)],
      aim: { atMost: 0 },
    },
    { name: 'proof', unit: 's', samples: proofs },
    {
      name: 'append p99 during a proof that is not held back, against without',
      unit: 'ratio',
      samples: besides.map((ms, i) => ms / (p99s[i] ?? Number.NaN)),
      measured: `${median(besides).toFixed(2)} / ${p99.toFixed(2)} ms`,
    },
    { name: 'rollback after a cutover: proof and the way back', unit: 's', samples: backs },
  ];
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

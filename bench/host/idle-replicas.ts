/** What a host costs that serves a thousand replicas nobody writes to. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import type { Figure } from './figures.ts';
import { HostProcess } from './host-process.ts';
import type { Setting } from './setting.ts';

interface Idle {
  readonly megabytes: number;
  readonly startSeconds: number;
  /** Of one processor, in per cent. */
  readonly cpuShare: number;
}

export async function measureIdleReplicas(setting: Setting): Promise<Figure[]> {
  const count = setting.quick ? 100 : 1000;
  const one = await measureIdle(setting, 1);
  const many = await measureIdle(setting, count);
  const each = ((many.megabytes - one.megabytes) * 1000) / (count - 1);
  return [
    { name: `resident memory with ${count} replicas`, unit: 'MB', samples: [many.megabytes] },
    { name: 'resident memory with one', unit: 'MB', samples: [one.megabytes] },
    { name: 'each replica besides', unit: 'KB', samples: [each] },
    { name: `processor time with ${count}, idle`, unit: '%', samples: [many.cpuShare] },
    { name: `start with ${count} that were there`, unit: 's', samples: [many.startSeconds] },
  ];
}

/** The second start: what is measured has opened, not made, its replicas. */
async function measureIdle({ work, quick, log }: Setting, count: number): Promise<Idle> {
  const directory = join(work, 'idle');
  const members = Object.fromEntries(Array.from({ length: count }, (_, i) => [`n${i}`, 'local']));
  await (await HostProcess.start(directory, members)).stop();
  const begun = performance.now();
  const host = await HostProcess.start(directory, members);
  const startSeconds = (performance.now() - begun) / 1000;
  try {
    const seconds = quick ? 2 : 10;
    await delay(1000);
    const before = host.cpuSeconds();
    await delay(seconds * 1000);
    const cpuShare = ((host.cpuSeconds() - before) / seconds) * 100;
    const megabytes = host.residentMegabytes();
    log(`${count} idle: ${megabytes.toFixed(0)} MB, ${cpuShare.toFixed(2)} %, ${startSeconds} s`);
    return { megabytes, startSeconds, cpuShare };
  } finally {
    await host.stop();
    rmSync(directory, { recursive: true });
  }
}

/** What the disk itself takes: below it no append can come, nor dual write on one disk. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import type { FileHandle } from '../../storage/file-layer.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { median } from '../measure.ts';
import type { Figure } from './figures.ts';
import { alternating, type Setting } from './setting.ts';

const bytes = Buffer.alloc(1024, 'x');
const writesOfARound = 300;

export async function measureDisk({ work, quick }: Setting): Promise<Figure[]> {
  const directory = join(work, 'disk');
  mkdirSync(directory, { recursive: true });
  const open = (name: string) =>
    nodeFileLayer.open(join(directory, name), 'create', { synced: true });
  const files = [await open('a'), await open('b'), await open('c')] as const;
  const [alone, first, second] = files;
  const rounds: { one: number; two: number }[] = [];
  for (const { order } of alternating(['one', 'two'] as const, quick ? 1 : 5)) {
    const round = { one: 0, two: 0 };
    for (const which of order) {
      round[which] = await medianMs(which === 'one' ? [alone] : [first, second]);
    }
    rounds.push(round);
  }
  for (const file of files) await file.close();
  rmSync(directory, { recursive: true });
  const us = (which: 'one' | 'two') => rounds.map((round) => round[which] * 1000);
  return [
    { name: 'one file, a durable write of 1 KiB, p50', unit: 'µs', samples: us('one') },
    {
      name: 'two files at once, until both are durable, against one: p50',
      unit: 'ratio',
      samples: rounds.map(({ one, two }) => two / one),
      measured: `${median(us('two')).toFixed(0)} / ${median(us('one')).toFixed(0)} µs`,
    },
  ];
}

async function medianMs(files: readonly FileHandle[]): Promise<number> {
  const took: number[] = [];
  const start = await files[0]?.size();
  for (let i = 0; i < writesOfARound; i += 1) {
    const begun = performance.now();
    const at = (start ?? 0) + i * bytes.length;
    await Promise.all(files.map((file) => file.write(bytes, at)));
    took.push(performance.now() - begun);
  }
  return median(took);
}

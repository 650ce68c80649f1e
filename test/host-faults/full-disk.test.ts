import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, describe, expect, test } from 'vitest';

import { missing } from '../setup/toolchain.ts';
import { FaultyHost } from './faulty-host.ts';

/** More than RocksDB makes beforehand. */
const diskMib = 32;

let host: FaultyHost | null = null;
let disk: string | null = null;

function mount(directory: string): void {
  mkdirSync(directory, { recursive: true });
  const options = ['-t', 'tmpfs', '-o', `size=${diskMib}m`, 'quorumshift-test', directory];
  execFileSync('mount', options, { stdio: 'pipe' });
}

/** A container mostly may not; the same faults without a mount are in host-faults.test.ts. */
function mayMount(): boolean {
  const directory = mkdtempSync(join(tmpdir(), 'quorumshift-mount-'));
  try {
    mount(directory);
    execFileSync('umount', [directory]);
    return true;
  } catch {
    console.log('skipped: a disk that is really full: nothing may be mounted here');
    return false;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

afterEach(async () => {
  await host?.stop();
  if (disk !== null) execFileSync('umount', ['--lazy', disk]);
  await host?.remove();
  [host, disk] = [null, null];
});

/** Takes all the room that is left; what it returns gives it back. */
async function fill(directory: string): Promise<() => Promise<void>> {
  const file = join(directory, 'filler');
  const { bavail, bsize } = await statfs(directory);
  await writeFile(file, Buffer.alloc(bavail * bsize)).catch(() => {});
  return () => rm(file);
}

describe.skipIf(missing('cc') || !mayMount())('a disk without any room', () => {
  test.each(['local', 'rocksdb', 'sqlite'])(
    'under a mirror on %s, then under it as primary: the mirror is left; the primary is refused until there is room [DUAL-8] [LOG-8] [I1] [I15]',
    async (family) => {
      host = await FaultyHost.start('local');
      disk = join(host.place.directory, 'disk');
      mount(disk);
      const { operator, writers } = host;
      const [faulty, other] = writers;
      const run = async (...given: Parameters<typeof operator.run>) => {
        expect(await operator.run(...given)).toMatchObject({ code: 0 });
      };
      const target = `${family}://${disk}/instance`;
      await run('mirror', target);
      let freed = await fill(disk);
      // A segment or a page may have room of its own.
      while ((await operator.show())?.mirror !== undefined) await faulty.wrote(20n);
      await freed();
      expect(faulty.refusals).toEqual([]);
      for (const command of ['drop', 'mirror', 'prove', 'cutover', 'finalize'] as const) {
        await run(command, command === 'mirror' ? target : undefined);
      }
      freed = await fill(disk);
      expect(await faulty.refused()).toMatchObject({ code: 'io.failed' });
      await other.wrote(5n);
      await freed();
      await faulty.wrote(5n);
      expect(other.refusals).toEqual([]);
      await host.checkAll();
    },
    180_000,
  );
});

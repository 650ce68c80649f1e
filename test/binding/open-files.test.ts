import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  describeHolders,
  findHolders,
  type LookOptions,
} from '../../storage/binding/open-files.ts';

/**
 * Tests run where some process may not be looked at: another user's, or the init of a container.
 */
const passOver: LookOptions = { mayNotLook: 'pass-over' };

/** Maps the file, closes its descriptor, and stays. */
const mapAndStay = `
  const koffi = require('koffi');
  const fs = require('node:fs');
  const mmap = koffi.load('libc.so.6')
    .func('void *mmap(void *address, size_t length, int prot, int flags, int fd, int64 offset)');
  const fd = fs.openSync(process.argv[1], 'r+');
  globalThis.kept = mmap(null, 4096, 3, 1, fd, 0);
  fs.closeSync(fd);
`;
const openAndStay = `globalThis.kept = require('node:fs').openSync(process.argv[1], 'r+');`;
const stay = `process.stdout.write('ready'); setInterval(() => {}, 1000);`;

let root: string;
let tree: string;
let children: ChildProcess[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'open-files-'));
  tree = join(root, 'log');
  children = [];
  await mkdir(join(tree, 'below'), { recursive: true });
  await mkdir(join(root, 'logs'));
  await writeFile(join(tree, 'below', 'file'), Buffer.alloc(4096));
  await writeFile(join(root, 'logs', 'file'), 'beside');
});

afterEach(async () => {
  for (const child of children) {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }
  await rm(root, { recursive: true });
});

async function begin(script: string, argument: string, cwd?: string): Promise<number> {
  const options = cwd === undefined ? {} : { cwd };
  const started = spawn(process.execPath, ['-e', script + stay, argument], {
    ...options,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(started);
  await once(started.stdout, 'data');
  return started.pid ?? -1;
}

async function holders(): Promise<{ pid: number; what: string; path: string }[]> {
  const found = await findHolders([tree], passOver);
  return found.map(({ pid, what, path }) => ({ pid, what, path }));
}

describe('looking for open files [CUT-7]', () => {
  it('nothing held, or nothing there, has no holders', async () => {
    await begin(openAndStay, join(root, 'logs', 'file'), join(root, 'logs'));
    expect(await holders()).toEqual([]);
    expect(await findHolders([join(root, 'absent')], passOver)).toEqual([]);
  });

  it('finds a descriptor, with the command that holds it', async () => {
    const path = join(tree, 'below', 'file');
    const pid = await begin(openAndStay, path);
    const [found] = await findHolders([tree], passOver);
    expect(found).toMatchObject({ pid, what: 'descriptor', path });
    expect(found?.command).toContain(process.execPath);
    expect(
      describeHolders(
        [found, found, found, found, found, found].filter((holder) => holder != null),
      ),
    ).toMatch(/^pid \d+ \(.*\): descriptor .*; and 1 more$/s);
  });

  it('finds a descriptor after the directory was parked under another name', async () => {
    const pid = await begin(openAndStay, join(tree, 'below', 'file'));
    const parked = join(root, 'log.parked');
    await rename(tree, parked);
    tree = parked;
    const path = join(parked, 'below', 'file');
    expect(await holders()).toEqual([{ pid, what: 'descriptor', path }]);
  });

  it('finds a descriptor of a file that was unlinked', async () => {
    const path = join(tree, 'below', 'file');
    const pid = await begin(openAndStay, path);
    await unlink(path);
    expect(await holders()).toEqual([{ pid, what: 'descriptor', path: `${path} (deleted)` }]);
  });

  it('finds a mapping whose descriptor is closed', async () => {
    const path = join(tree, 'below', 'file');
    const pid = await begin(mapAndStay, path);
    expect(await holders()).toEqual([{ pid, what: 'mapping', path }]);
  });

  it('finds a working directory, of the tree itself or below', async () => {
    const pids = [await begin('', '', tree), await begin('', '', join(tree, 'below'))];
    const found = await holders();
    expect(new Set(found.map(({ pid }) => pid))).toEqual(new Set(pids));
    expect(found.map(({ what }) => what)).toEqual(['cwd', 'cwd']);
  });

  it('finds nothing once the holder is gone', async () => {
    await begin(openAndStay, join(tree, 'below', 'file'));
    const [holder] = children;
    holder?.kill('SIGKILL');
    if (holder !== undefined) await once(holder, 'exit');
    expect(await holders()).toEqual([]);
  });

  it('without permission to look at every process refuses, naming one', async () => {
    const module = new URL('../../storage/binding/open-files.js', import.meta.url).href;
    const script = `
      if (process.getuid() === 0) {
      process.setgroups([]); process.setgid(65534); process.setuid(65534);
    }
      const { findHolders } = await import(${JSON.stringify(module)});
      await findHolders(['/absent']).then(
        () => console.log('found'), (error) => console.log(error.code, error.message));`;
    expect(await outputOf(['--input-type=module', '-e', script])).toMatch(
      /^fence.cannot-look .*pid \d+ \(/s,
    );
  });
});

async function outputOf(args: string[]): Promise<string> {
  const started = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  started.stdout.on('data', (piece: Buffer) => {
    text += piece.toString();
  });
  await once(started, 'close');
  return text;
}

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { removeFence } from '../../storage/binding/fence-file.ts';
import { readFence } from '../../storage/fence-text.ts';
import { requireFenceable, requireSeparate } from '../../storage/binding/fence-obstacles.ts';
import {
  fencePath,
  moveToTrash,
  parkedName,
  removeTrash,
  reservePath,
  trashName,
  unfencePath,
} from '../../storage/binding/path-fence.ts';
import { probeExchange } from '../../storage/binding/probe-exchange.ts';
import type { FileLayer } from '../../storage/file-layer.ts';
import { makeDirectories, readWhole, removeTree, writeDurably } from '../../storage/files.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { everyCrash } from '../../storage/testing/every-crash.ts';

const owner = { replica: 'c1/m1', migration: 'mig-1' };
const place = { path: '/data/log', parked: parkedName('/data/log', 'mig-1') };
const { path, parked } = place;

/** What lies at a name: an instance by its content, `fence`, or `absent`. */
async function lies(files: FileLayer, name: string): Promise<string> {
  const stat = await files.stat(name);
  if (stat === null) return 'absent';
  if (stat.kind !== 'directory') return (await readFence(files, name)) ? 'fence' : 'a foreign file';
  const names = await files.list(name);
  if (names.length === 0) return 'empty';
  return `instance ${String(await readWhole(files, join(name, 'state'), 100))}`;
}

async function both(files: FileLayer): Promise<[string, string]> {
  return [await lies(files, path), await lies(files, parked)];
}

async function putInstance(files: FileLayer, name: string, content = 'A'): Promise<void> {
  await makeDirectories(files, name);
  await writeDurably(files, join(name, 'state'), Buffer.from(content));
}

async function withInstance(at = path): Promise<CrashFileLayer> {
  const files = new CrashFileLayer();
  await putInstance(files, at);
  return files;
}

const refusal = { code: 'fence.unexpected' };
const unsupported = { code: 'io.exchange-unsupported' };

describe('fencing an instance', () => {
  it('puts the fence at its path and the instance, unchanged, at the parked name [CUT-7]', async () => {
    const files = await withInstance();
    const before = await files.stat(path);
    await fencePath(files, place, owner);
    expect(await both(files)).toEqual(['fence', 'instance A']);
    expect(await files.stat(parked)).toEqual(before);
    expect(await readFence(files, path)).toEqual({ ...owner, parked, holds: 'directory' });
  });

  it('leaves a file that begins as documented and tells what to do', async () => {
    const files = await withInstance();
    await fencePath(files, place, owner);
    const text = (await readWhole(files, path, 4096))?.toString() ?? '';
    expect(text.startsWith('{"quorumshift":"fence"')).toBe(true);
    expect(text).toContain('Do not remove');
    expect(text).toContain('quorumshift status --local c1/m1');
  });

  it('done again, or after an unfencing, ends the same [OPS-5] [I13]', async () => {
    const files = await withInstance();
    for (const again of [fencePath, fencePath]) await again(files, place, owner);
    expect(await both(files)).toEqual(['fence', 'instance A']);
    for (const again of [unfencePath, unfencePath]) await again(files, place);
    expect(await both(files)).toEqual(['instance A', 'fence']);
    await fencePath(files, place, { ...owner, migration: 'mig-2' });
    expect(await readFence(files, path)).toMatchObject({ migration: 'mig-2' });
    await unfencePath(files, place);
    await removeFence(files, parked);
    await removeFence(files, parked);
    await unfencePath(files, place);
    expect(await both(files)).toEqual(['instance A', 'absent']);
  });

  it('or reserving its place is refused where the fence of another replica stands, be its migration of one id', async () => {
    const files = await withInstance();
    await fencePath(files, place, owner);
    for (const again of [fencePath, reservePath]) {
      for (const other of [
        { ...owner, replica: 'c1/m2' },
        { ...owner, migration: 'mig-2' },
      ]) {
        await expect(again(files, place, other)).rejects.toMatchObject(refusal);
      }
    }
    expect(await readFence(files, path)).toMatchObject(owner);
  });

  it('of a place that is absent leaves a fence alone, and unfencing an empty directory', async () => {
    const files = new CrashFileLayer();
    await makeDirectories(files, '/data');
    for (const again of [fencePath, fencePath]) await again(files, place, owner);
    expect(await both(files)).toEqual(['fence', 'absent']);
    for (const again of [unfencePath, unfencePath]) await again(files, place);
    expect(await both(files)).toEqual(['empty', 'fence']);
  });

  it('is refused where the parked name is taken, or something foreign is at either', async () => {
    const files = await withInstance();
    await putInstance(files, parked, 'B');
    await expect(fencePath(files, place, owner)).rejects.toMatchObject(refusal);
    await expect(unfencePath(files, place)).rejects.toMatchObject(refusal);
    await removeTree(files, path);
    await writeDurably(files, path, Buffer.from('notes'));
    await expect(fencePath(files, place, owner)).rejects.toMatchObject(refusal);
    await expect(unfencePath(files, place)).rejects.toMatchObject(refusal);
    await expect(removeFence(files, path)).rejects.toMatchObject(refusal);
    expect(await both(files)).toEqual(['a foreign file', 'instance B']);
  });

  it('is refused where the instance vanished from the path after the fence was prepared', async () => {
    const files = await withInstance();
    files.failAt({ operation: 'exchange', code: 'EIO', nth: 1 });
    await expect(fencePath(files, place, owner)).rejects.toThrow('EIO');
    await removeTree(files, path);
    await expect(fencePath(files, place, owner)).rejects.toMatchObject(refusal);
    expect(await both(files)).toEqual(['absent', 'fence']);
  });

  it('is not undone when the parked instance is missing: nothing empty takes its path [CUT-7]', async () => {
    const files = await withInstance();
    await fencePath(files, place, owner);
    await removeTree(files, parked);
    await expect(unfencePath(files, place)).rejects.toMatchObject(refusal);
    expect(await both(files)).toEqual(['fence', 'absent']);
  });

  it('takes no fence of another place for its own', async () => {
    const files = await withInstance();
    const other = { path, parked: parkedName(path, 'mig-0') };
    await fencePath(files, other, owner);
    await expect(fencePath(files, place, owner)).rejects.toMatchObject(refusal);
    await expect(reservePath(files, place, owner)).rejects.toMatchObject(refusal);
  });
});

describe('reserving a target', () => {
  it('puts a fence where nothing or an empty directory is [CUT-7]', async () => {
    const files = new CrashFileLayer();
    for (const again of [reservePath, reservePath]) await again(files, place, owner);
    expect(await both(files)).toEqual(['fence', 'absent']);
    const emptied = new CrashFileLayer();
    await makeDirectories(emptied, path);
    await reservePath(emptied, place, owner);
    expect(await both(emptied)).toEqual(['fence', 'absent']);
  });

  it('is refused where an instance or a file is', async () => {
    const files = await withInstance();
    await expect(reservePath(files, place, owner)).rejects.toMatchObject(refusal);
    expect(await both(files)).toEqual(['instance A', 'absent']);
    await removeTree(files, path);
    await writeDurably(files, path, Buffer.from('notes'));
    await expect(reservePath(files, place, owner)).rejects.toMatchObject(refusal);
  });

  it('admits the instance that was completed at the parked name, and nothing before', async () => {
    const files = new CrashFileLayer();
    await reservePath(files, place, owner);
    await expect(unfencePath(files, place)).rejects.toMatchObject(refusal);
    await putInstance(files, parked, 'B');
    await reservePath(files, place, owner);
    await unfencePath(files, place);
    expect(await both(files)).toEqual(['instance B', 'fence']);
  });
});

describe('discarding', () => {
  const trash = trashName(parked, '1');

  it('takes away the parked directory and touches nothing else [BOOT-4]', async () => {
    const files = await withInstance(parked);
    await putInstance(files, '/data/log.quorumshift-mig-2', 'other');
    const found: string[] = [];
    for (let time = 0; time < 2; time += 1) {
      await moveToTrash(files, { parked, trash });
      found.push(await lies(files, trash));
      await removeTrash(files, trash);
    }
    expect(found).toEqual(['instance A', 'absent']);
    expect(await files.list('/data')).toEqual(['log.quorumshift-mig-2']);
  });

  it('refuses a fence', async () => {
    const files = await withInstance();
    await fencePath(files, place, owner);
    await expect(
      moveToTrash(files, { parked: path, trash: trashName(path, '1') }),
    ).rejects.toMatchObject(refusal);
  });

  it('stopped anywhere leaves the whole directory parked, or none [BOOT-4]', async () => {
    await everyCrash({
      seed: 31,
      prepare: async (files) => {
        await putInstance(files, parked);
        await writeDurably(files, `${parked}/more`, Buffer.from('x'));
      },
      run: async (files) => {
        await moveToTrash(files, { parked, trash });
        await removeTrash(files, trash);
      },
      check: async (files, { ended }) => {
        const left = await files.stat(parked);
        const names = left === null ? [] : (await files.list(parked)).toSorted();
        expect([[], ['more', 'state']]).toContainEqual(names);
        expect(ended && left !== null).toBe(false);
        await moveToTrash(files, { parked, trash });
        await removeTrash(files, trash);
        expect(await files.list('/data')).toEqual([]);
      },
    });
  });

  it('found moved but not durably so is made durable before anything is removed', async () => {
    await everyCrash({
      seed: 32,
      prepare: async (files) => {
        await putInstance(files, parked);
        // As after a kill of the process, not of the machine.
        await files.rename(parked, trash);
      },
      run: (files) => removeTrash(files, trash),
      check: async (files) => expect(['absent', 'instance A']).toContain(await lies(files, parked)),
    });
  });
});

/**
 * Runs on what each crash left, as a retried step does; then the end must be as without a crash.
 */
async function crashEverywhere(options: {
  seed: number;
  prepare(files: CrashFileLayer): Promise<void>;
  run(files: CrashFileLayer): Promise<void>;
  allowedAtPath: readonly string[];
  end: [string, string];
}): Promise<number> {
  const { allowedAtPath, end } = options;
  return everyCrash({
    ...options,
    check: async (files, { ended }) => {
      expect(allowedAtPath).toContain(await lies(files, path));
      if (ended) assert.deepEqual(await both(files), end);
      await options.run(files);
      expect(await both(files)).toEqual(end);
      expect(await both(files.afterCrash(1))).toEqual(end);
    },
  });
}

describe('a crash at every operation [CUT-7]', () => {
  it('of fencing leaves instance or fence at the path', async () => {
    const operations = await crashEverywhere({
      seed: 1,
      prepare: (files) => putInstance(files, path),
      run: (files) => fencePath(files, place, owner),
      allowedAtPath: ['instance A', 'fence'],
      end: ['fence', 'instance A'],
    });
    expect(operations).toBeGreaterThan(1);
  });

  it('of unfencing leaves instance or fence at the path', async () => {
    const operations = await crashEverywhere({
      seed: 2,
      prepare: async (files) => {
        await putInstance(files, path);
        await fencePath(files, place, owner);
      },
      run: (files) => unfencePath(files, place),
      allowedAtPath: ['instance A', 'fence'],
      end: ['instance A', 'fence'],
    });
    expect(operations).toBeGreaterThan(1);
  });

  it('of fencing an absent place leaves nothing yet or the fence', async () => {
    const operations = await crashEverywhere({
      seed: 3,
      prepare: (files) => makeDirectories(files, '/data'),
      run: (files) => fencePath(files, place, owner),
      allowedAtPath: ['absent', 'fence'],
      end: ['fence', 'absent'],
    });
    expect(operations).toBeGreaterThan(1);
  });

  it('of unfencing an absent place leaves fence or empty directory, never nothing', async () => {
    const operations = await crashEverywhere({
      seed: 4,
      prepare: async (files) => {
        await makeDirectories(files, '/data');
        await fencePath(files, place, owner);
      },
      run: (files) => unfencePath(files, place),
      allowedAtPath: ['fence', 'empty'],
      end: ['empty', 'fence'],
    });
    expect(operations).toBeGreaterThan(1);
  });

  it.each([
    ['nothing', '/', 5],
    ['an empty directory', path, 6],
  ])('of reserving %s leaves it or the whole fence', async (_what, before, seed) => {
    const operations = await crashEverywhere({
      seed,
      prepare: (files) => makeDirectories(files, before),
      run: (files) => reservePath(files, place, owner),
      allowedAtPath: ['absent', 'empty', 'fence'],
      end: ['fence', 'absent'],
    });
    expect(operations).toBeGreaterThan(1);
  });

  it('of admitting leaves fence or the complete instance', async () => {
    const operations = await crashEverywhere({
      seed: 7,
      prepare: async (files) => {
        await reservePath(files, place, owner);
        await putInstance(files, parked, 'B');
      },
      run: (files) => unfencePath(files, place),
      allowedAtPath: ['instance B', 'fence'],
      end: ['instance B', 'fence'],
    });
    expect(operations).toBeGreaterThan(1);
  });

  it('of removing the fence after an unfencing leaves the instance at its path', async () => {
    const operations = await crashEverywhere({
      seed: 8,
      prepare: async (files) => {
        await putInstance(files, path);
        await fencePath(files, place, owner);
      },
      run: async (files) => {
        await unfencePath(files, place);
        await removeFence(files, parked);
      },
      allowedAtPath: ['instance A', 'fence'],
      end: ['instance A', 'absent'],
    });
    expect(operations).toBeGreaterThan(1);
  });
});

describe('on a real file system', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'path-fence-'));
  });
  afterEach(() => rm(root, { recursive: true }));

  it('an instance is fenced and comes back', async () => {
    const real = { path: join(root, 'log'), parked: parkedName(join(root, 'log'), 't1') };
    await putInstance(nodeFileLayer, real.path);
    await fencePath(nodeFileLayer, real, owner);
    expect(await readFile(real.path, 'utf8')).toContain('"migration":"mig-1"');
    expect(await lies(nodeFileLayer, real.parked)).toBe('instance A');
    await unfencePath(nodeFileLayer, real);
    expect(await lies(nodeFileLayer, real.path)).toBe('instance A');
  });

  it('a symbolic link and a mount point are refused, a directory and nothing are not', async () => {
    await mkdir(join(root, 'real'));
    await symlink(join(root, 'real'), join(root, 'link'));
    const link = { path: join(root, 'link'), parked: parkedName(join(root, 'link'), 't1') };
    await expect(requireFenceable(nodeFileLayer, link.path)).rejects.toMatchObject(refusal);
    await expect(fencePath(nodeFileLayer, link, owner)).rejects.toMatchObject(refusal);
    await expect(requireFenceable(nodeFileLayer, '/proc')).rejects.toMatchObject(unsupported);
    await expect(requireFenceable(nodeFileLayer, '/')).rejects.toMatchObject(unsupported);
    await requireFenceable(nodeFileLayer, join(root, 'real'));
    await requireFenceable(nodeFileLayer, join(root, 'absent'));
  });

  it('paths one of which lies inside another are refused, through links too', async () => {
    await mkdir(join(root, 'a'));
    await symlink(join(root, 'a'), join(root, 'link'));
    const separate = (...names: string[]) =>
      requireSeparate(
        nodeFileLayer,
        names.map((name) => join(root, name)),
      );
    await separate('a/log', 'a/log2', 'b/log');
    await expect(separate('a/log', 'a/log/snapshot')).rejects.toMatchObject({
      code: 'uri.invalid',
    });
    await expect(separate('a/log/snapshot', 'b', 'a/log')).rejects.toMatchObject({
      code: 'uri.invalid',
    });
    await expect(separate('a/log', 'a/log')).rejects.toMatchObject({ code: 'uri.invalid' });
    await expect(separate('a/log', 'link/log/x')).rejects.toMatchObject({ code: 'uri.invalid' });
  });

  it('a path that goes while it is resolved is one that is not there', async () => {
    await mkdir(join(root, 'going'));
    const files: FileLayer = {
      ...nodeFileLayer,
      realPath: async (given) => {
        await rm(join(root, 'going'), { recursive: true, force: true });
        return nodeFileLayer.realPath(given);
      },
    };
    await requireSeparate(files, [join(root, 'going'), join(root, 'staying')]);
  });

  it('the probe tells whether names can be exchanged, and leaves nothing', async () => {
    await probeExchange(nodeFileLayer, root);
    await probeExchange(nodeFileLayer, join(root, 'not/there/yet'));
    expect(await nodeFileLayer.list(root)).toEqual([]);
  });

  it('the probe refuses a file system that cannot exchange, and leaves nothing', async () => {
    const files = new CrashFileLayer();
    files.failAt({ operation: 'exchange', code: 'EINVAL', nth: 1 });
    await expect(probeExchange(files, '/')).rejects.toMatchObject(unsupported);
    expect(await files.list('/')).toEqual([]);
  });
});

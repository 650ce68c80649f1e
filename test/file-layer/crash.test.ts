import { describe, expect, it } from 'vitest';

import { isErrno, readWhole, writeDurably } from '../../storage/files.ts';
import { Crash, CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { everyCrash } from '../../storage/testing/every-crash.ts';

/** Enough for each of the few outcomes of these small cases to show. */
const seeds = Array.from({ length: 64 }, (_, seed) => seed);

async function write(files: CrashFileLayer, path: string, text: string): Promise<void> {
  const file = await files.open(path, 'create');
  await file.write(Buffer.from(text), 0);
  await file.sync();
  await file.close();
}

async function read(files: CrashFileLayer, path: string): Promise<string | null> {
  return (await readWhole(files, path, 1 << 20))?.toString('latin1') ?? null;
}

/** What the crash leaves, over all seeds, sorted. */
async function outcomes(
  files: CrashFileLayer,
  look: (after: CrashFileLayer) => Promise<unknown>,
): Promise<string[]> {
  const seen = new Set<string>();
  for (const seed of seeds) seen.add(JSON.stringify(await look(files.afterCrash(seed))));
  return [...seen].toSorted();
}

describe('a crash', () => {
  it('keeps synced bytes under a synced name, always', async () => {
    const files = new CrashFileLayer();
    await write(files, '/a', 'kept');
    await files.syncDirectory('/');
    expect(await outcomes(files, (after) => read(after, '/a'))).toEqual(['"kept"']);
  });

  it('keeps what a file opened for synced writing was given, always', async () => {
    const files = new CrashFileLayer();
    await write(files, '/a', '');
    await files.syncDirectory('/');
    const file = await files.open('/a', 'read-write', { synced: true });
    await file.write(Buffer.from('kept'), 0);
    expect(await outcomes(files, (after) => read(after, '/a'))).toEqual(['"kept"']);
  });

  it('may lose the unsynced name of a synced file', async () => {
    const files = new CrashFileLayer();
    await write(files, '/a', 'kept');
    expect(await outcomes(files, (after) => read(after, '/a'))).toEqual(['"kept"', 'null']);
  });

  it('keeps, cuts, zeroes or loses an unsynced write, and never touches synced bytes', async () => {
    const files = new CrashFileLayer();
    await write(files, '/a', 'SSSS');
    await files.syncDirectory('/');
    const file = await files.open('/a', 'read-write');
    await file.write(Buffer.from('uu'), 4);
    const found = await outcomes(files, (after) => read(after, '/a'));
    expect(found).toEqual(['"SSSS"', '"SSSS\\u0000\\u0000"', '"SSSSu"', '"SSSSuu"']);
  });

  it('may keep a later write and lose an earlier one', async () => {
    const files = new CrashFileLayer();
    await write(files, '/a', '');
    await files.syncDirectory('/');
    const file = await files.open('/a', 'read-write');
    await file.write(Buffer.from('1'), 0);
    await file.write(Buffer.from('2'), 1);
    expect(await outcomes(files, (after) => read(after, '/a'))).toContain('"\\u00002"');
  });

  it('keeps a prefix of the unsynced changes of one directory', async () => {
    const files = new CrashFileLayer();
    for (const name of ['/a', '/b', '/c']) await files.makeDirectory(name);
    const found = await outcomes(files, (after) => after.list('/'));
    expect(found).toEqual(['["a","b","c"]', '["a","b"]', '["a"]', '[]']);
  });

  it('keeps a rename across directories for both names or for none', async () => {
    const files = new CrashFileLayer();
    for (const name of ['/a', '/b']) await files.makeDirectory(name);
    await write(files, '/a/file', 'x');
    for (const name of ['/', '/a']) await files.syncDirectory(name);
    await files.rename('/a/file', '/b/file');
    const places = (after: CrashFileLayer) => Promise.all(['/a', '/b'].map((d) => after.list(d)));
    const either = ['[["file"],[]]', '[[],["file"]]'];
    expect(await outcomes(files, places)).toEqual(either);
  });

  it.each([
    [['/b'], ['["file"]', '[]']],
    [['/a'], ['["file"]', '[]']],
    [['/a', '/b'], ['["file"]']],
  ])('after a rename across directories and a sync of %j leaves %j', async (synced, expected) => {
    const files = new CrashFileLayer();
    for (const name of ['/a', '/b']) await files.makeDirectory(name);
    await write(files, '/a/file', 'x');
    for (const name of ['/', '/a']) await files.syncDirectory(name);
    await files.rename('/a/file', '/b/file');
    for (const name of synced) await files.syncDirectory(name);
    expect(await outcomes(files, (after) => after.list('/b'))).toEqual(expected);
  });

  it('keeps a half synced rename that a later synced name builds on', async () => {
    const files = new CrashFileLayer();
    for (const name of ['/a', '/b']) await files.makeDirectory(name);
    await write(files, '/a/file', 'x');
    for (const name of ['/', '/a']) await files.syncDirectory(name);
    await files.rename('/a/file', '/b/file');
    await files.rename('/b/file', '/b/last');
    await files.syncDirectory('/b');
    const places = (after: CrashFileLayer) => Promise.all(['/a', '/b'].map((d) => after.list(d)));
    expect(await outcomes(files, places)).toEqual(['[[],["last"]]']);
  });

  it('stops every later operation, and the old machine stays stopped', async () => {
    const files = new CrashFileLayer();
    files.crashAt(2);
    await files.makeDirectory('/a');
    await expect(files.makeDirectory('/b')).rejects.toThrow(Crash);
    await expect(files.stat('/a')).rejects.toThrow(Crash);
    const after = files.afterCrash(1);
    expect(after.crashed).toBe(false);
    await expect(files.stat('/a')).rejects.toThrow(Crash);
  });

  it('comes before or after the effect of its operation, by seed', async () => {
    const found = new Set<string>();
    for (const seed of seeds) {
      const files = new CrashFileLayer(seed);
      await files.makeDirectory('/a');
      files.crashAt(1);
      await files.syncDirectory('/').catch(() => {});
      const lists = await outcomes(files, (after) => after.list('/'));
      found.add(lists.join());
    }
    expect([...found].toSorted()).toEqual(['["a"]', '["a"],[]']);
  });

  it('frees locks', async () => {
    const files = new CrashFileLayer();
    await files.lock('/', 'exclusive');
    expect(await files.afterCrash(1).lock('/', 'exclusive')).not.toHaveProperty('holder');
  });

  it('leaves the same for the same seed', async () => {
    const dumps = [0, 1].map(async () => {
      const files = new CrashFileLayer(3);
      for (const name of ['/a', '/b', '/c', '/d']) await write(files, name, name.repeat(9));
      return files.afterCrash(11).dump();
    });
    expect(await dumps[0]).toBe(await dumps[1]);
  });
});

describe('an injected failure', () => {
  it('fails the nth operation of its kind, once', async () => {
    const files = new CrashFileLayer();
    files.failAt({ operation: 'mkdir', code: 'EIO', nth: 2 });
    await files.makeDirectory('/a');
    await expect(files.makeDirectory('/b')).rejects.toSatisfy((error) => isErrno(error, 'EIO'));
    await files.makeDirectory('/c');
    expect(await files.list('/')).toEqual(['a', 'c']);
  });

  it('ENOSPC of a write leaves a prefix of it', async () => {
    const lengths = new Set<number>();
    for (const seed of seeds) {
      const files = new CrashFileLayer(seed);
      files.failAt({ operation: 'write', code: 'ENOSPC', nth: 1 });
      await expect(write(files, '/a', 'abc')).rejects.toSatisfy((e) => isErrno(e, 'ENOSPC'));
      lengths.add((await read(files, '/a'))?.length ?? -1);
    }
    expect(lengths).toEqual(new Set([0, 1, 2]));
  });

  it('a failed sync loses its writes for good, though the next one resolves [LOG-8]', async () => {
    const files = new CrashFileLayer();
    const file = await files.open('/a', 'create');
    await files.syncDirectory('/');
    await file.write(Buffer.from('lost'), 0);
    files.failAt({ operation: 'sync', code: 'EIO', nth: 1 });
    await expect(file.sync()).rejects.toSatisfy((error) => isErrno(error, 'EIO'));
    await file.sync();
    expect(await outcomes(files, (after) => read(after, '/a'))).toContain('""');
  });

  it('EINVAL of an exchange is a file system that cannot exchange', async () => {
    const files = new CrashFileLayer();
    for (const name of ['/a', '/b']) await files.makeDirectory(name);
    files.failAt({ operation: 'exchange', code: 'EINVAL', nth: 1 });
    const refused = files.exchange('/a', '/b');
    await expect(refused).rejects.toMatchObject({ code: 'io.exchange-unsupported' });
  });
});

describe('every crash', () => {
  it('shows a durable replacement to be whole, before and after', async () => {
    const operations = await everyCrash({
      seed: 5,
      prepare: (files) => writeDurably(files, '/state', Buffer.from('before')),
      run: (files) => writeDurably(files, '/state', Buffer.from('after')),
      check: async (survivor, { ended }) => {
        const found = await read(survivor, '/state');
        expect(ended ? ['after'] : ['before', 'after']).toContain(found);
      },
    });
    expect(operations).toBe(5);
  });

  it('finds a replacement that forgets to sync', async () => {
    const careless = everyCrash({
      seed: 5,
      prepare: (files) => writeDurably(files, '/state', Buffer.from('before')),
      run: async (files) => {
        const file = await files.open('/state.tmp', 'create');
        await file.write(Buffer.from('after'), 0);
        await files.rename('/state.tmp', '/state');
        await files.syncDirectory('/');
      },
      check: async (survivor) => {
        expect(['before', 'after']).toContain(await read(survivor, '/state'));
      },
    });
    await expect(careless).rejects.toThrow(/seed \d+, left:\n\/state /);
  });
});

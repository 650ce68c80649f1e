import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { FileHandle, FileLayer, FileOpenMode } from '../../storage/file-layer.ts';
import { StreamedFile } from '../../storage/streamed-file.ts';
import { isErrno, makeDirectories, readWhole } from '../../storage/files.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';

interface Ground {
  readonly files: FileLayer;
  readonly root: string;
  remove(): Promise<void>;
}

async function realGround(): Promise<Ground> {
  const root = await mkdtemp(join(tmpdir(), 'file-layer-'));
  return { files: nodeFileLayer, root, remove: () => rm(root, { recursive: true }) };
}

async function crashGround(): Promise<Ground> {
  const files = new CrashFileLayer();
  await makeDirectories(files, '/root');
  return { files, root: '/root', remove: async () => {} };
}

/** The code that the call rejects with; null when it resolves. */
async function codeOf(call: Promise<unknown>): Promise<string | null> {
  try {
    await call;
    return null;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return String(error.code);
    throw error;
  }
}

describe.each([
  ['real', realGround],
  ['crash', crashGround],
])('%s file layer', (_name, makeGround) => {
  let ground: Ground;
  let files: FileLayer;
  const at = (name: string) => join(ground.root, name);

  beforeEach(async () => {
    ground = await makeGround();
    files = ground.files;
    await files.makeDirectory(at('directory'));
    await files.makeDirectory(at('full'));
    await put('file', 'text');
    await put('full/child', 'child');
  });

  afterEach(() => ground.remove());

  async function put(name: string, content: string): Promise<void> {
    const file = await files.open(at(name), 'create');
    await file.write(Buffer.from(content), 0);
    await file.close();
  }

  async function text(name: string): Promise<string | null> {
    return (await readWhole(files, at(name), 1024))?.toString() ?? null;
  }

  async function openOnce(name: string, mode: FileOpenMode): Promise<void> {
    await (await files.open(at(name), mode)).close();
  }

  it.each<[FileOpenMode, string, string | null]>([
    ['read', 'absent', 'ENOENT'],
    ['read', 'file', null],
    ['read', 'directory', null],
    ['read', 'file/below', 'ENOTDIR'],
    ['read', 'absent/below', 'ENOENT'],
    ['read-write', 'absent', 'ENOENT'],
    ['read-write', 'file', null],
    ['read-write', 'directory', 'EISDIR'],
    ['create', 'absent', null],
    ['create', 'file', null],
    ['create', 'directory', 'EISDIR'],
    ['create', 'absent/below', 'ENOENT'],
    ['create', 'file/below', 'ENOTDIR'],
    ['create-exclusive', 'absent', null],
    ['create-exclusive', 'file', 'EEXIST'],
    ['create-exclusive', 'directory', 'EEXIST'],
  ])('opening for %s at "%s" ends with %s', async (mode, name, code) => {
    expect(await codeOf(openOnce(name, mode))).toBe(code);
  });

  it.each([
    ['nothing', []],
    ['a byte', [1]],
    ['a block', [4096]],
    ['more than its buffers', [5 * 1024 * 1024 + 1]],
    ['pieces around a buffer', [2 * 1024 * 1024 - 1, 1, 1, 4097]],
  ])('a streamed file of %s has these bytes after each flush', async (_what, sizes) => {
    const file = await files.open(at('streamed'), 'create', { direct: true });
    const stream = new StreamedFile(file);
    const expected: Buffer[] = [];
    for (const size of [...sizes, 0]) {
      const piece = Buffer.alloc(size, `${size} bytes `);
      expected.push(piece);
      await stream.append(piece);
      await stream.flush();
      const found = await readWhole(files, at('streamed'), 16 * 1024 * 1024);
      expect(found?.equals(Buffer.concat(expected))).toBe(true);
      expect(stream.bytes).toBe(found?.length);
    }
    await stream.release();
    await file.close();
  });

  it('create empties a file, read-write keeps it', async () => {
    await openOnce('file', 'read-write');
    expect(await text('file')).toBe('text');
    await openOnce('file', 'create');
    expect(await text('file')).toBe('');
  });

  it.each<[string, (file: FileHandle) => Promise<unknown>, string | null]>([
    ['write', (file) => file.write(Buffer.from('x'), 0), 'EBADF'],
    ['truncate', (file) => file.truncate(0), 'EINVAL'],
    ['sync', (file) => file.sync(), null],
    ['size', (file) => file.size(), null],
  ])('%s through a handle for reading ends as Linux does it', async (_call, call, code) => {
    const file = await files.open(at('file'), 'read');
    expect(await codeOf(call(file))).toBe(code);
    await file.close();
  });

  it('a directory opened for reading cannot be read, but synced', async () => {
    const directory = await files.open(at('directory'), 'read');
    expect(await codeOf(directory.read(Buffer.alloc(1), 0, 1, 0))).toBe('EISDIR');
    await directory.sync();
    await directory.close();
  });

  it('a closed handle refuses everything', async () => {
    const file = await files.open(at('file'), 'read-write');
    await file.close();
    expect(await codeOf(file.read(Buffer.alloc(1), 0, 1, 0))).toBe('EBADF');
    expect(await codeOf(file.write(Buffer.alloc(1), 0))).toBe('EBADF');
    expect(await codeOf(file.truncate(1))).toBe('EBADF');
    expect(await codeOf(file.sync())).toBe('EBADF');
    expect(await codeOf(file.size())).toBe('EBADF');
    expect(await codeOf(file.close())).toBe('EBADF');
  });

  it('a write beyond the end leaves zeros, and a shrunk file grows with zeros', async () => {
    const file = await files.open(at('file'), 'read-write');
    await file.write(Buffer.from('Z'), 6);
    expect(await text('file')).toBe('text\0\0Z');
    await file.truncate(2);
    await file.truncate(4);
    expect(await text('file')).toBe('te\0\0');
    expect(await file.size()).toBe(4);
    await file.write(Buffer.alloc(0), 100);
    expect(await file.size()).toBe(4);
    await file.close();
  });

  it('reading returns what is there, and 0 at the end', async () => {
    const file = await files.open(at('file'), 'read');
    const buffer = Buffer.alloc(8, '.');
    expect(await file.read(buffer, 2, 6, 1)).toBe(3);
    expect(buffer.toString()).toBe('..ext...');
    expect(await file.read(buffer, 0, 8, 4)).toBe(0);
    await file.close();
  });

  it('a removed file stays readable through its handle', async () => {
    const file = await files.open(at('file'), 'read');
    await files.removeFile(at('file'));
    expect(await file.size()).toBe(4);
    await file.close();
    expect(await files.stat(at('file'))).toBeNull();
  });

  it('stat tells kinds apart, and inodes follow renames', async () => {
    const before = await files.stat(at('file'));
    expect(before).toMatchObject({ kind: 'file', bytes: 4 });
    expect(await files.stat(at('full'))).toMatchObject({ kind: 'directory' });
    expect(await files.stat(at('file/below'))).toBeNull();
    expect(await files.stat(at('absent/below'))).toBeNull();
    await files.rename(at('file'), at('full/moved'));
    expect(await files.stat(at('full/moved'))).toEqual(before);
  });

  it.each<[string, (at: (name: string) => string) => Promise<unknown>, string | null]>([
    ['list a file', (of) => files.list(of('file')), 'ENOTDIR'],
    ['list nothing', (of) => files.list(of('absent')), 'ENOENT'],
    ['make a directory over a file', (of) => files.makeDirectory(of('file')), 'EEXIST'],
    ['make a directory over one', (of) => files.makeDirectory(of('full')), 'EEXIST'],
    ['make a directory below nothing', (of) => files.makeDirectory(of('a/b')), 'ENOENT'],
    ['make a directory below a file', (of) => files.makeDirectory(of('file/b')), 'ENOTDIR'],
    ['remove a directory as a file', (of) => files.removeFile(of('full')), 'EISDIR'],
    ['remove no file', (of) => files.removeFile(of('absent')), 'ENOENT'],
    ['remove a full directory', (of) => files.removeDirectory(of('full')), 'ENOTEMPTY'],
    ['remove a file as a directory', (of) => files.removeDirectory(of('file')), 'ENOTDIR'],
    ['remove no directory', (of) => files.removeDirectory(of('absent')), 'ENOENT'],
    ['sync a file as a directory', (of) => files.syncDirectory(of('file')), 'ENOTDIR'],
    ['sync no directory', (of) => files.syncDirectory(of('absent')), 'ENOENT'],
    ['find the real path of nothing', (of) => files.realPath(of('absent')), 'ENOENT'],
    ['lock nothing', (of) => files.lock(of('absent'), 'shared'), 'ENOENT'],
  ])('to %s is refused', async (_what, call, code) => {
    expect(await codeOf(call(at))).toBe(code);
  });

  it.each([
    ['file', 'full/child', null],
    ['file', 'file', null],
    ['file', 'full', 'EISDIR'],
    ['full', 'directory', null],
    ['full', 'file', 'ENOTDIR'],
    ['directory', 'full', 'ENOTEMPTY'],
    ['full', 'full/below', 'EINVAL'],
    ['full/child', 'full', 'ENOTEMPTY'],
    ['absent', 'file', 'ENOENT'],
    ['file', 'absent/below', 'ENOENT'],
    ['file', 'full/child/below', 'ENOTDIR'],
  ])('renaming "%s" to "%s" ends with %s', async (from, to, code) => {
    expect(await codeOf(files.rename(at(from), at(to)))).toBe(code);
  });

  it.each([
    ['file', 'full', null],
    ['file', 'file', null],
    ['full', 'full/child', 'io.exchange-unsupported'],
    ['full/child', 'full', 'io.exchange-unsupported'],
    ['absent', 'file', 'ENOENT'],
    ['file', 'absent', 'ENOENT'],
    ['file', 'full/child/below', 'ENOTDIR'],
  ])('exchanging "%s" with "%s" ends with %s', async (a, b, code) => {
    expect(await codeOf(files.exchange(at(a), at(b)))).toBe(code);
  });

  it('an exchange swaps a file and a full directory', async () => {
    await files.exchange(at('file'), at('full'));
    expect(await text('full')).toBe('text');
    expect(await files.list(at('file'))).toEqual(['child']);
  });

  it('an exclusive lock keeps others out, follows a rename, and ends by release', async () => {
    const lock = await files.lock(at('directory'), 'exclusive');
    if ('holder' in lock) throw new Error(lock.holder);
    await files.rename(at('directory'), at('moved'));
    for (const kind of ['exclusive', 'shared'] as const) {
      const holder = `this process (pid ${process.pid})`;
      expect(await files.lock(at('moved'), kind)).toEqual({ holder });
    }
    await lock.release();
    expect(await files.lock(at('moved'), 'exclusive')).not.toHaveProperty('holder');
  });

  it('shared locks stand together and keep an exclusive one out until all are gone', async () => {
    const locks = [await files.lock(at('file'), 'shared'), await files.lock(at('file'), 'shared')];
    for (const lock of locks) {
      expect(await files.lock(at('file'), 'exclusive')).toHaveProperty('holder');
      if (!('holder' in lock)) await lock.release();
    }
    expect(await files.lock(at('file'), 'exclusive')).not.toHaveProperty('holder');
  });

  it('the real path is the absolute one', async () => {
    expect(await files.realPath(at('full/../file'))).toBe(await files.realPath(at('file')));
    expect(isErrno(new Error('no code'), 'ENOENT')).toBe(false);
  });
});

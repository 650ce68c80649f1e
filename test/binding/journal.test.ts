import { describe, expect, it } from 'vitest';

import { isErrno, makeDirectories, readWhole } from '../../storage/files.ts';
import type { FileLayer } from '../../storage/file-layer.ts';
import { appendJournal, readJournal, verifyJournal } from '../../storage/binding/journal.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { everyCrash } from '../../storage/testing/every-crash.ts';

const path = '/state/journal.jsonl';

async function newFiles(): Promise<CrashFileLayer> {
  const files = new CrashFileLayer();
  await makeDirectories(files, '/state');
  return files;
}

async function events(files: FileLayer): Promise<unknown[]> {
  return (await readJournal(files, path)).map((line) => line['event']);
}

async function content(files: FileLayer): Promise<Buffer> {
  return (await readWhole(files, path, 1 << 20)) ?? Buffer.alloc(0);
}

async function overwrite(files: FileLayer, bytes: Uint8Array): Promise<void> {
  const file = await files.open(path, 'create');
  await file.write(bytes, 0);
  await file.close();
}

describe('the journal', () => {
  it('is empty where there is no file', async () => {
    const files = await newFiles();
    expect(await readJournal(files, path)).toEqual([]);
    expect(await verifyJournal(files, path)).toEqual({ lines: 0, head: null, tornBytes: 0 });
  });

  it('gives back its lines in order, numbered and chained [OPS-4]', async () => {
    const files = await newFiles();
    for (const event of ['a', 'b\nc', 'd']) await appendJournal(files, path, { event });
    expect(await events(files)).toEqual(['a', 'b\nc', 'd']);
    expect((await readJournal(files, path)).map((line) => line['seq'])).toEqual([1, 2, 3]);
    expect(await verifyJournal(files, path)).toMatchObject({ lines: 3, tornBytes: 0 });
  });

  it.each([
    ['cut', (line: Buffer) => line.subarray(0, line.length - 2)],
    ['zeroed', (line: Buffer) => Buffer.alloc(line.length)],
    ['zeroed but for its end', (line: Buffer) => line.fill(0, 0, line.length - 1)],
  ])(
    'leaves out a last line that is %s, and cuts it off at the next append',
    async (_how, tear) => {
      const files = await newFiles();
      await appendJournal(files, path, { event: 'a' });
      const whole = await content(files);
      await overwrite(files, Buffer.concat([whole, tear(Buffer.from(whole))]));
      expect(await events(files)).toEqual(['a']);
      expect((await verifyJournal(files, path)).tornBytes).toBeGreaterThan(0);
      await appendJournal(files, path, { event: 'b' });
      expect(await events(files)).toEqual(['a', 'b']);
      expect(await verifyJournal(files, path)).toMatchObject({ lines: 2, tornBytes: 0 });
    },
  );

  it('an altered, a removed and a moved line are found', async () => {
    const files = await newFiles();
    for (const event of ['a', 'b', 'c']) await appendJournal(files, path, { event });
    const [a, b, c] = (await content(files)).toString().trimEnd().split('\n');
    const forgeries = [
      [a, b?.replace('"b"', '"x"'), c],
      [a, c],
      [b, c],
      [a, c, b],
    ];
    for (const lines of forgeries) {
      await overwrite(files, Buffer.from(`${lines.join('\n')}\n`));
      await expect(verifyJournal(files, path)).rejects.toMatchObject({ code: 'data.corrupt' });
    }
  });

  it('a finished last line that is no JSON is corruption, not a torn line', async () => {
    const files = await newFiles();
    await appendJournal(files, path, { event: 'a' });
    await overwrite(files, Buffer.concat([await content(files), Buffer.from('garbage\n')]));
    await expect(readJournal(files, path)).rejects.toMatchObject({ code: 'data.corrupt' });
    const append = appendJournal(files, path, { event: 'b' });
    await expect(append).rejects.toMatchObject({ code: 'data.corrupt' });
  });

  it('a line whose sync failed is taken back, so that the next one follows a durable line', async () => {
    const files = await newFiles();
    await appendJournal(files, path, { event: 'a' });
    files.failAt({ operation: 'sync', code: 'EIO', nth: 1 });
    const failed = appendJournal(files, path, { event: 'lost' });
    await expect(failed).rejects.toSatisfy((error) => isErrno(error, 'EIO'));
    await appendJournal(files, path, { event: 'b' });
    expect(await events(files)).toEqual(['a', 'b']);
  });

  it('a disk that is full leaves the journal as it was', async () => {
    const files = await newFiles();
    await appendJournal(files, path, { event: 'a' });
    files.failAt({ operation: 'write', code: 'ENOSPC', nth: 1 });
    const failed = appendJournal(files, path, { event: 'b' });
    await expect(failed).rejects.toSatisfy((error) => isErrno(error, 'ENOSPC'));
    expect(await verifyJournal(files, path)).toMatchObject({ lines: 1, tornBytes: 0 });
  });

  it('a crash anywhere loses no line that was acknowledged, and the journal goes on [OPS-4]', async () => {
    await everyCrash<unknown[]>({
      seed: 21,
      prepare: async (files) => {
        await makeDirectories(files, '/state');
        return [];
      },
      run: async (files, acknowledged) => {
        for (const event of ['a', 'b', 'c']) {
          await appendJournal(files, path, { event, padding: 'x'.repeat(50) });
          acknowledged.push(event);
        }
      },
      check: async (survivor, { context: acknowledged }) => {
        const left = await events(survivor);
        expect(left.slice(0, acknowledged.length)).toEqual(acknowledged);
        expect(left.length).toBeLessThanOrEqual(acknowledged.length + 1);
        await appendJournal(survivor, path, { event: 'after' });
        expect(await events(survivor)).toEqual([...left, 'after']);
        expect(await verifyJournal(survivor, path)).toMatchObject({ lines: left.length + 1 });
      },
    });
  });

  it('a kill between the first line and its name being durable is mended by the next append', async () => {
    const files = await newFiles();
    files.failAt({ operation: 'syncDirectory', code: 'EIO', nth: 1 });
    await expect(appendJournal(files, path, { event: 'a' })).rejects.toThrow('EIO');
    await appendJournal(files, path, { event: 'b' });
    for (let seed = 0; seed < 16; seed += 1) {
      expect(await events(files.afterCrash(seed))).toEqual(['a', 'b']);
    }
  });
});

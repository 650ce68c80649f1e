import { beforeAll, describe, expect, test } from 'vitest';

import type { BindingRecord } from '../../schemas/binding-record.ts';
import { verifyJournal } from '../../storage/binding/journal.ts';
import type { FileLayer } from '../../storage/file-layer.ts';
import { writeDurably } from '../../storage/files.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { everyCrash } from '../../storage/testing/every-crash.ts';
import { machineContext, MachineDriver, migrationInput } from '../steps/machine-driver.ts';
import { recordStoreOf } from '../steps/machine-invariants.ts';
import { dumpOf, makeSource, stateBefore, uriA, uriB } from '../steps/machine-scenarios.ts';

const input = migrationInput('m1', { source: uriA, target: uriB });
const seed = 11;

async function damage(files: FileLayer): Promise<void> {
  await writeDurably(files, recordStoreOf(files).directory.record, Buffer.from('{"format":'));
}

async function withoutRevision(files: FileLayer): Promise<Omit<BindingRecord, 'revision'>> {
  const record = await recordStoreOf(files).read();
  if (record === null) throw new Error('there is a record');
  const { revision: _, ...rest } = record;
  return rest;
}

describe('a binding record that the disk has damaged', () => {
  let driver: MachineDriver;
  let soaking: CrashFileLayer;

  beforeAll(async () => {
    soaking = new CrashFileLayer(seed);
    await makeSource(soaking);
    driver = new MachineDriver(machineContext(soaking), { name: 'm1', input });
    while (driver.memory.view?.phase !== 'swap') await driver.perform(await driver.next());
  });

  test('is restored as it was, and its migration comes to its end [I8] [OPS-6]', async () => {
    const files = soaking.afterCrash(seed);
    const before = await withoutRevision(files);
    await damage(files);
    const store = recordStoreOf(files);
    await expect(store.read()).rejects.toMatchObject({
      code: 'record.corrupt',
      message: expect.stringContaining('replica c1/m1'),
    });
    expect(await store.repair('tests')).toBe('repaired');
    expect(await withoutRevision(files)).toEqual(before);
    await verifyJournal(files, store.directory.journal);
    expect(await store.repair('tests')).toBe('sound');
    await files.removeFile(store.directory.record);
    expect(await store.repair('tests')).toBe('repaired');
    expect(await withoutRevision(files)).toEqual(before);
    await new MachineDriver(machineContext(files), { name: 'm1', input }).drive();
    expect(await dumpOf(files, uriB)).toEqual(stateBefore);
  });

  test('after a power cut at any moment of a step is as it was, or as the step left it [I8]', async () => {
    const call = await driver.next();
    const ends = soaking.afterCrash(seed);
    const before = await withoutRevision(ends);
    await new MachineDriver(machineContext(ends), driver.scenario, driver.memory).perform(call);
    const after = await withoutRevision(ends);
    await everyCrash({
      seed,
      prepare: async (files) => {
        await makeSource(files);
        const made = new MachineDriver(machineContext(files), { name: 'm1', input });
        while (made.memory.view?.phase !== 'swap') await made.perform(await made.next());
        return made;
      },
      run: async (_files, made) => made.perform(call),
      check: async (files, { ended }) => {
        const { migration, primary } = (await recordStoreOf(files).read()) ?? {};
        await damage(files);
        expect(await recordStoreOf(files).repair('tests')).toBe('repaired');
        const found = await withoutRevision(files);
        if (ended || migration?.phase === 'repoint') expect(found).toEqual(after);
        else expect([before.primary, after.primary]).toContainEqual(found.primary);
        if (found.primary.uris.log === before.primary.uris.log) {
          expect(found.primary).toEqual(primary);
        }
      },
    });
  });

  test('is not restored from a copy that is damaged, or of another time', async () => {
    const files = soaking.afterCrash(seed);
    const store = recordStoreOf(files);
    const { recordCopy } = store.directory;
    const record = await store.read();
    await damage(files);
    for (const text of ['', JSON.stringify({ ...record, revision: 3 })]) {
      await writeDurably(files, recordCopy, Buffer.from(text));
      await expect(store.repair('tests')).rejects.toMatchObject({
        code: 'record.corrupt',
        message: expect.stringContaining(recordCopy),
      });
    }
  });
});

import { mkdtemp, mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { defaultFamilies } from '../../storage/families/registry.ts';
import { generationStampName, writeStamp } from '../../storage/binding/generation-stamp.ts';
import { readWhole, writeDurably } from '../../storage/files.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { appendOf } from '../../storage/testing/conformance-env.ts';
import { dumpState } from '../../storage/testing/state-dump.ts';
import { applyToInstance } from '../../storage/testing/state-model.ts';
import { machineContext, MachineDriver, migrationInput, replica } from './machine-driver.ts';
import { recordStoreOf, treeOf } from './machine-invariants.ts';
import { makeSource, uriA, uriB } from './machine-scenarios.ts';

const input = (id: string, from = uriA, to = uriB) =>
  migrationInput(id, { source: from, target: to });

function driverOf(files: CrashFileLayer, id: string, from = uriA, to = uriB): MachineDriver {
  return new MachineDriver(machineContext(files), { name: id, input: input(id, from, to) });
}

async function migrated(): Promise<CrashFileLayer> {
  const files = new CrashFileLayer(1);
  await makeSource(files);
  await driverOf(files, 'm1').drive();
  return files;
}

describe('a generation stamp', () => {
  it('lies in the target alone, and not in the source that was there before [CUT-2] [I12]', async () => {
    const files = await migrated();
    const stamps = Object.keys(await treeOf(files, '/data')).filter((name) =>
      name.endsWith(generationStampName),
    );
    expect(stamps).toEqual([`/b/log/${generationStampName}`]);
    const record = await recordStoreOf(files).read();
    const text = (await readWhole(files, `/data/b/log/${generationStampName}`, 4096))?.toString();
    expect(JSON.parse(text ?? '')).toMatchObject({ generation: record?.generation });
  });

  it('refuses a migration whose record was lost [CUT-2]', async () => {
    const files = await migrated();
    await files.removeFile(recordStoreOf(files).directory.record);
    const driver = driverOf(files, 'm2', uriB, uriA);
    await expect(driver.drive()).rejects.toMatchObject({ code: 'record.stamp-newer' });
  });

  it.each([
    ['the cutover', false],
    ['the cutover, and the one back', true],
  ])(
    'refuses a migration over a record that was restored from before %s [CUT-2]',
    async (_from, back) => {
      const files = new CrashFileLayer(1);
      await makeSource(files);
      const driver = driverOf(files, 'm1');
      await driver.perform(await driver.next());
      const { record } = recordStoreOf(files).directory;
      const backup = await readWhole(files, record, 1_000_000);
      await driver.drive();
      if (back) await driverOf(files, 'm2', uriB, uriA).drive();
      await writeDurably(files, record, backup ?? Buffer.alloc(0));
      await expect(driverOf(files, 'm1').drive('again')).rejects.toMatchObject({
        code: 'record.stamp-newer',
      });
    },
  );

  it('is ignored by every family that lies in directories [CUT-2] [EQ-1]', async () => {
    const root = await mkdtemp(join(tmpdir(), 'quorumshift-stamp-'));
    const families = defaultFamilies();
    const context = { files: nodeFileLayer };
    try {
      for (const family of families.families) {
        const uris = families.expand(`${family.schemes[0]}://${root}/${family.name}`);
        const [place] = family.places(uris);
        if (place === undefined) continue;
        await mkdir(join(root, family.name), { recursive: true });
        const made = await family.open(uris, 'create', context);
        await applyToInstance(made, appendOf(0n, 3));
        const state = await dumpState(made);
        await made.close();
        await writeStamp(nodeFileLayer, place.path, { replica, generation: 3 });
        for (const mode of ['read-write', 'read-only'] as const) {
          const opened = await family.open(uris, mode, context);
          expect({ family, found: await dumpState(opened) }).toEqual({ family, found: state });
          expect(opened.warnings).toEqual([]);
          await opened.close();
        }
      }
    } finally {
      await rm(root, { recursive: true });
    }
  });
});

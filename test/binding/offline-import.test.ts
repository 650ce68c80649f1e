import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { importOffline, discardImport } from '../../storage/binding/offline-import.ts';
import type { Instance } from '../../storage/contracts.ts';
import { digestInstance } from '../../storage/equivalence/state-digest.ts';
import { batchOf, EntryType } from '../../storage/entry-batch.ts';
import { localFamily } from '../../storage/families/local/family.ts';
import { memoryFamily } from '../../storage/families/memory/family.ts';
import { FamilyRegistry } from '../../storage/family-registry.ts';
import { copyState } from '../../storage/image/copy-state.ts';
import { everyCrash } from '../../storage/testing/every-crash.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';

const families = new FamilyRegistry([localFamily, memoryFamily]);
const seed = 7;
const uris = localFamily.expand('local:///data/b');
let sources = 0;

/** A state with a term, a vote and some entries, in memory. */
async function sourceState(): Promise<Instance> {
  sources += 1;
  const source = await memoryFamily.open(
    memoryFamily.expand(`memory://import-${sources}`),
    'create',
    {
      files: new CrashFileLayer(seed),
    },
  );
  const entries = [1n, 2n, 3n].map((index) => ({
    index,
    term: 4n,
    type: EntryType.DATA,
    payload: Buffer.from(`entry ${index}`),
  }));
  await source.apply({ meta: { term: 4n, votedFor: Buffer.from('10.0.0.1:8000:0:0') } });
  await source.apply({ entries: { after: 0n, batches: [batchOf(entries)] } });
  return source;
}

describe('an offline import cut off by a crash at every operation', () => {
  let source: Instance;
  let wanted: string;

  beforeEach(async () => {
    source = await sourceState();
    wanted = (await digestInstance(source)).root;
  });
  afterEach(() => source.close());

  const importInto = (files: CrashFileLayer) =>
    importOffline({ families, files, uris }, async (staging) => {
      await copyState(source, staging);
    });

  /** Looks at what each crash left, with what opens there: the whole state's digest, or null. */
  const crashed = (check: (files: CrashFileLayer, opened: string | null) => Promise<void>) =>
    everyCrash({
      seed,
      prepare: async () => {},
      run: async (files) => {
        await importInto(files);
      },
      check: async (files) => {
        const opened = await openOrNull(files);
        expect([null, wanted]).toContain(opened);
        await check(files, opened);
        expect(files.dump()).not.toContain('.tmp');
      },
    });

  test('never opens in part, and the same import completes it [BOOT-4] [CUT-7]', async () => {
    await crashed(async (files) => {
      await importInto(files).catch((error: unknown) => {
        // Whole already, and nothing of the import is left to complete.
        expect(error).toMatchObject({ code: 'instance.not-empty' });
      });
      expect(await openOrNull(files)).toBe(wanted);
    });
  });

  test('and discarded: nothing is left, or it is whole and refused [BOOT-4]', async () => {
    await crashed(async (files, opened) => {
      try {
        await discardImport({ families, files, uris });
        expect(await openOrNull(files)).toBe(opened);
      } catch (error) {
        expect(error).toMatchObject({ code: 'instance.not-empty' });
        await importOffline({ families, files, uris }, () => Promise.reject(new Error('filled')));
        expect(await openOrNull(files)).toBe(wanted);
      }
    });
  });
});

describe('an offline import under way', () => {
  test('is neither discarded nor joined by another one, from its first entry to its end [BOOT-4]', async () => {
    const source = await sourceState();
    const files = new CrashFileLayer(seed);
    const target = { families, files, uris };
    const held = { code: 'instance.locked' };
    await importOffline(target, async (staging) => {
      await expect(discardImport(target)).rejects.toMatchObject(held);
      await copyState(source, staging);
      await expect(importOffline(target, async () => {})).rejects.toMatchObject(held);
      await expect(discardImport(target)).rejects.toMatchObject(held);
    });
    expect(await openOrNull(files)).toBe((await digestInstance(source)).root);
    await source.close();
  });
});

/** The digest of what opens at the target; null when nothing does. */
async function openOrNull(files: CrashFileLayer): Promise<string | null> {
  try {
    const instance = await localFamily.open(uris, 'read-only', { files });
    try {
      return (await digestInstance(instance)).root;
    } finally {
      await instance.close();
    }
  } catch {
    return null;
  }
}

import { describe, expect, test } from 'vitest';

import type { BindingRecord } from '../../schemas/binding-record.ts';
import { readJournal, verifyJournal } from '../../storage/binding/journal.ts';
import { RecordStore, type RecordChange } from '../../storage/binding/record-store.ts';
import type { FileLayer } from '../../storage/file-layer.ts';
import { writeDurably } from '../../storage/files.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { everyCrash } from '../../storage/testing/every-crash.ts';

const seed = 31;
const ref = (name: string) => ({
  uris: {
    log: `local:///${name}/log`,
    meta: `local:///${name}/meta`,
    snapshot: `local:///${name}/s`,
  },
  parkedTag: null,
});

function storeOn(files: FileLayer): RecordStore {
  const replica = { cluster: 'kv', member: 'n1' };
  return new RecordStore({ files, stateDir: '/state', replica, now: () => new Date(0) });
}

const first: Omit<BindingRecord, 'revision'> = {
  format: 'quorumshift-binding/1',
  replica: { cluster: 'kv', member: 'n1' },
  generation: 4,
  lease: 0,
  token: { lease: 0, step: 0, attempt: 0 },
  primary: ref('a'),
  mirror: { ref: ref('b'), stage: 'dual', wasPrimary: false, window: null },
  former: null,
  migration: null,
  lastEnded: null,
};

function changeTo(next: Omit<BindingRecord, 'revision'>, event: string): RecordChange {
  return { next, audit: { event, by: 'test' } };
}

async function madeOn(files: FileLayer): Promise<RecordStore> {
  const store = storeOn(files);
  await store.locked(({ write }) => write(changeTo(first, 'serve')));
  return store;
}

/** As a cutover. */
function swapped(record: BindingRecord | null): RecordChange {
  if (record?.mirror == null) throw new Error('there is a pair');
  const { primary, mirror, generation } = record;
  const next = { ...record, primary: mirror.ref, mirror: { ...mirror, ref: primary } };
  return changeTo({ ...next, generation: generation + 1 }, 'cutover');
}

describe('a change of the record that was prepared', () => {
  test('a crash at any moment leaves the old record or the new one, which its line came before, and either can be restored [I8] [I18] [CUT-2]', async () => {
    await everyCrash({
      seed,
      prepare: madeOn,
      run: async (_files, store) => {
        const prepared = await store.prepare(swapped);
        expect((await store.read())?.generation).toBe(4);
        expect(await store.take(prepared)).toBe(true);
      },
      check: async (files, { ended }) => {
        const store = storeOn(files);
        const found = await store.read();
        const isNew = found?.primary.uris.log === ref('b').uris.log;
        if (ended) expect(isNew).toBe(true);
        expect(found?.generation).toBe(isNew ? 5 : 4);
        const { journal, record } = store.directory;
        await verifyJournal(files, journal);
        const last = (await readJournal(files, journal)).at(-1);
        expect([found?.revision, isNew ? NaN : 2]).toContain(last?.['revision']);
        await store.locked(({ confirm }) => confirm());
        await writeDurably(files, record, Buffer.from('{'));
        expect(await store.repair('test')).toBe('repaired');
        expect((await store.read())?.primary).toEqual(found?.primary);
      },
    });
  });

  test('another change comes before it: it is void, and nothing has changed by it', async () => {
    const store = await madeOn(new CrashFileLayer(seed));
    const prepared = await store.prepare(swapped);
    await store.locked(({ record, write }) => {
      if (record === null) throw new Error('there is a record');
      return write(changeTo({ ...record, lease: 1 }, 'own'));
    });
    const other = await store.read();
    expect(await store.take(prepared)).toBe(false);
    expect(await store.read()).toEqual(other);
    expect([other?.lease, other?.generation]).toEqual([1, 4]);
  });
});

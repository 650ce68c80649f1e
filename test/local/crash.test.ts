import { describe, expect, test } from 'vitest';

import { hasCode } from '../../core/errors.ts';
import type { Instance } from '../../storage/contracts.ts';
import { batchOf, entryAt } from '../../storage/entry-batch.ts';
import { createLocalFamily } from '../../storage/families/local/family.ts';
import { loadLog } from '../../storage/families/local/load-log.ts';
import { readLog } from '../../storage/families/local/log-reader.ts';
import { readWhole } from '../../storage/files.ts';
import { entriesOf, snapshotOf, voteA } from '../../storage/testing/conformance-env.ts';
import {
  allowedStates,
  history,
  modelAfter,
  mutations,
} from '../../storage/testing/crash-situations.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { everyCrash } from '../../storage/testing/every-crash.ts';
import { dumpEntry, dumpState, type StateDump } from '../../storage/testing/state-dump.ts';
import {
  applyToInstance,
  applyToModel,
  dumpModel,
  emptyModel,
  type ModelMutation,
  type StateModel,
} from '../../storage/testing/state-model.ts';

/** About five entries in each segment. */
const family = createLocalFamily({ maxSegmentBytes: 200 });
const uris = family.expand('local:///data/a');
const seed = Number(process.env['SEED'] ?? 20261);

async function openAfter(files: CrashFileLayer, before: readonly ModelMutation[]) {
  const instance = await family.open(uris, 'create', { files });
  for (const mutation of before) await applyToInstance(instance, mutation);
  return instance;
}

async function dumpAndClose(instance: Instance): Promise<StateDump> {
  try {
    return await dumpState(instance);
  } finally {
    await instance.close();
  }
}

/** Opens for writing; the opening itself is stopped once in the middle. */
async function recovered(survivor: CrashFileLayer, crashAt: number): Promise<StateDump> {
  let files = survivor;
  files.crashAt(crashAt);
  await family.open(uris, 'read-write', { files }).catch(() => {});
  files = files.afterCrash(seed + crashAt);
  return dumpAndClose(await family.open(uris, 'read-write', { files }));
}

/** What a reader sees; null where it refuses as braft would: zeros that were never written. */
async function seenByReader(files: CrashFileLayer): Promise<StateDump | null> {
  try {
    return await dumpAndClose(await family.open(uris, 'read-only', { files }));
  } catch (error) {
    if (hasCode(error, 'data.corrupt')) return null;
    throw error;
  }
}

/** The log as braft would load it (zeros never written: with `-raft_recover_log_from_corrupt`). */
async function seenByBraft(files: CrashFileLayer) {
  const directory = '/data/a/log';
  const log = await loadLog(files, directory, { forWriting: true });
  const settled = () => Promise.resolve();
  const readable = { ...log, files, directory, generation: 0, settled };
  const how = { maxBytes: 1000, passing: false, statesPayloads: false };
  const range = { from: log.firstIndex, to: log.lastIndex, ...how };
  const entries: string[] = [];
  for await (const batch of readLog(readable, range)) {
    for (let i = 0; i < batch.count; i += 1) entries.push(dumpEntry(entryAt(batch, i)));
  }
  return { log, entries };
}

function isPrefix(part: readonly string[], whole: readonly string[]): boolean {
  return part.every((entry, i) => entry === whole[i]);
}

describe(`a crash at every operation (SEED=${seed}) of`, () => {
  test.each(Object.entries(mutations))(
    '%s: old state, a prefix of the order, or all; all once acknowledged [LOG-1] [LOG-3]',
    async (_, mutation) => {
      const model = modelAfter(history);
      const allowed = allowedStates(model, mutation).map(dumpModel);
      const operations = await everyCrash({
        seed,
        prepare: (files) => openAfter(files, history),
        run: (_files, instance) => applyToInstance(instance, mutation),
        check: async (survivor, { k, ended }) => {
          const seen = await seenByReader(survivor);
          const found = await recovered(survivor, (k % 5) + 1);
          if (ended) expect(found).toEqual(allowed.at(-1));
          else expect(allowed).toContainEqual(found);
          if (seen !== null) expect(seen).toEqual(found);
        },
      });
      expect(operations).toBeGreaterThan(1);
    },
  );

  test.each(Object.entries(mutations).filter(([, { reset, truncate }]) => reset ?? truncate))(
    '%s: braft, which knows no intent, sees a prefix of the old log or the new one [LOG-3]',
    async (_, mutation) => {
      const model = modelAfter(history);
      const wholly = applyToModel(model, mutation);
      await everyCrash({
        seed,
        prepare: (files) => openAfter(files, history),
        run: (_files, instance) => applyToInstance(instance, mutation),
        check: async (survivor) => {
          const { log, entries } = await seenByBraft(survivor);
          const same = [model, wholly].some((whole) => {
            const visible = whole.entries.filter((entry) => entry.index >= log.firstIndex);
            return isPrefix(entries, visible.map(dumpEntry));
          });
          expect(log.hole).toBeNull();
          expect([model.firstIndex, wholly.firstIndex]).toContain(log.firstIndex);
          expect(same).toBe(true);
        },
      });
    },
  );

  test('a vote that hashicorp clears and gives anew: never a mixture [LOG-6]', async () => {
    const number = Buffer.alloc(8);
    number.writeBigUInt64BE(7n);
    const keys = new Map([['LastVoteTerm', number]]);
    const before: ModelMutation[] = [{ meta: { term: 7n, votedFor: voteA } }];
    await everyCrash({
      seed,
      prepare: (files) => openAfter(files, before),
      run: (_files, instance) => instance.apply({ meta: { auxiliary: keys } }),
      check: async (survivor, { ended }) => {
        const instance = await family.open(uris, 'read-write', { files: survivor });
        const { term, votedFor, auxiliary } = instance.state().meta;
        await instance.close();
        expect(term).toBe(7n);
        expect([voteA, null]).toContainEqual(votedFor);
        expect(auxiliary.size === 0).toBe(votedFor !== null);
        if (ended) expect(votedFor).toBeNull();
      },
    });
  });

  test('making an instance: it is not there, or it is one [BOOT-4]', async () => {
    await everyCrash({
      seed,
      prepare: async () => {},
      run: async (files) => (await family.open(uris, 'create', { files })).close(),
      check: async (survivor, { ended }) => {
        const files = survivor;
        const occupied = await family.occupied(uris, { files });
        if (ended) expect(occupied).not.toBeNull();
        const mode = occupied === null ? 'create' : 'read-write';
        const instance = await family.open(uris, mode, { files });
        expect(await dumpAndClose(instance)).toEqual(dumpModel(emptyModel));
      },
    });
  });
});

const imported: StateModel = {
  firstIndex: 7n,
  entries: entriesOf(7n, 40n, 2n),
  meta: { term: 5n, votedFor: voteA, auxiliary: new Map([['commit', Buffer.from([9])]]) },
  snapshot: snapshotOf(8n, 'imported'),
};

/** An import that goes on from wherever the place stands. */
async function runImport(files: CrashFileLayer): Promise<void> {
  const place = await family.stage(uris, { files });
  const { progress } = place;
  if (progress === null) await place.begin(imported.firstIndex);
  let next = (progress?.lastIndex ?? imported.firstIndex - 1n) + 1n;
  for (const last of [18n, 30n, 40n].filter((index) => index >= next)) {
    const list = imported.entries.filter((entry) => entry.index >= next && entry.index <= last);
    for (const entry of list) await place.append(batchOf([entry]));
    if (last < 40n) await place.checkpoint({ firstIndex: 7n, lastIndex: last, note: {} });
    next = last + 1n;
  }
  await place.setMeta(imported.meta);
  const { snapshot } = imported;
  if (snapshot !== null) {
    const writer = await place.snapshot(snapshot.meta);
    for (const { content, ...file } of snapshot.files) await writer.file(file, [content]);
    await writer.prepare();
  }
  await place.publish();
}

/** braft, which knows no marker, deletes everything where log_meta is missing. */
async function isNothingOrWholeForBraft(files: CrashFileLayer): Promise<boolean> {
  if ((await files.stat('/data')) === null || (await files.stat('/data/a')) === null) return true;
  if ((await files.stat('/data/a/log')) === null) return true;
  const { log, entries } = await seenByBraft(files);
  return !log.hasLogMeta || isSame(entries, imported.entries.map(dumpEntry));
}

async function isPublished(files: CrashFileLayer): Promise<boolean> {
  const opened = await family.open(uris, 'read-only', { files }).catch(() => null);
  if (opened === null) return false;
  expect(await dumpAndClose(opened)).toEqual(dumpModel(imported));
  return true;
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && isPrefix(a, b);
}

describe(`opening for writing (SEED=${seed})`, () => {
  test('makes durable what it has read, as written by one that syncs nothing [LOG-8]', async () => {
    const model = modelAfter(history);
    const source = new CrashFileLayer(seed);
    await (await openAfter(source, history)).close();
    for (let loss = 0; loss < 20; loss += 1) {
      const files = new CrashFileLayer(seed + loss);
      for (const path of ['/data', '/data/a']) await files.makeDirectory(path);
      for (const path of ['/', '/data']) await files.syncDirectory(path);
      await copyUnsynced({ from: source, to: files, path: '/data/a' });
      await files.syncDirectory('/data/a');
      const opened = await family.open(uris, 'read-write', { files });
      const after = files.afterCrash(seed + loss);
      await opened.close().catch(() => {});
      const found = await family.open(uris, 'read-write', { files: after });
      expect(await dumpAndClose(found)).toEqual(dumpModel(model));
    }
  });
});

async function copyUnsynced(copy: {
  from: CrashFileLayer;
  to: CrashFileLayer;
  path: string;
}): Promise<void> {
  const { from, to, path } = copy;
  for (const name of await from.list(path)) {
    const child = `${path}/${name}`;
    if ((await from.stat(child))?.kind === 'directory') {
      await to.makeDirectory(child);
      await copyUnsynced({ from, to, path: child });
    } else {
      const file = await to.open(child, 'create');
      await file.write((await readWhole(from, child, 1e9)) ?? Buffer.alloc(0), 0);
      await file.close();
    }
  }
}

describe(`an import stopped at every operation (SEED=${seed})`, () => {
  test('never opens before it is whole, and goes on to the same state [BOOT-4] [BOOT-2]', async () => {
    await everyCrash({
      seed,
      prepare: async () => {},
      run: (files) => runImport(files),
      check: async (survivor, { k, ended }) => {
        const files = survivor;
        const opened = await family.open(uris, 'read-only', { files }).catch((error: unknown) => {
          const codes = ['instance.missing', 'instance.staging'] as const;
          expect(codes.some((code) => hasCode(error, code))).toBe(true);
          return null;
        });
        if (ended) expect(opened).not.toBeNull();
        if (opened !== null) {
          expect(await dumpAndClose(opened)).toEqual(dumpModel(imported));
          return;
        }
        expect(await isNothingOrWholeForBraft(files)).toBe(true);
        files.crashAt((k % 40) + 1);
        await runImport(files).catch(() => {});
        const again = files.afterCrash(seed);
        expect(await isNothingOrWholeForBraft(again)).toBe(true);
        if (await isPublished(again)) return;
        await runImport(again);
        const instance = await family.open(uris, 'read-write', { files: again });
        expect(await dumpAndClose(instance)).toEqual(dumpModel(imported));
      },
    });
  });
});

/** Opening, locking, read-only use, snapshots that readers hold, and the staging life. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';

import { hasCode } from '../../core/errors.ts';
import type { InstanceUris, StagingInstance } from '../contracts.ts';
import { batchOf } from '../entry-batch.ts';
import type { ConformanceCase, ConformanceEnv } from './conformance-env.ts';
import {
  appendOf,
  entriesOf,
  rejectsWith,
  snapshotOf,
  Subject,
  voteA,
  withSubject,
} from './conformance-env.ts';
import { byPathBytes } from '../snapshot-path.ts';
import { dumpSnapshot, dumpSnapshotMeta, dumpState } from './state-dump.ts';
import {
  applyToModel,
  dumpModel,
  emptyModel,
  prepareSnapshot,
  type ModelSnapshot,
  type StateModel,
} from './state-model.ts';

export const openingCases: readonly ConformanceCase[] = [
  {
    name: 'nothing there: opening is refused in both modes and makes nothing',
    clauses: ['BOOT-1'],
    run: async ({ family, uris, context }) => {
      const at = uris();
      await rejectsWith('instance.missing', () => family.open(at, 'read-only', context));
      await rejectsWith('instance.missing', () => family.open(at, 'read-write', context));
      strictEqual(await family.occupied(at, context), null);
    },
  },
  {
    name: 'an instance there: creating and staging are refused, and it stays as it was',
    clauses: ['BOOT-1'],
    run: async (env) => {
      const { family, context } = env;
      await withSubject(env, async (subject) => {
        await subject.apply(appendOf(0n, 3));
        await subject.instance.close();
        ok((await family.occupied(subject.uris, context)) !== null);
        await rejectsWith('instance.not-empty', () => family.open(subject.uris, 'create', context));
        await rejectsWith('instance.not-empty', () => family.stage(subject.uris, context));
        subject.instance = await family.open(subject.uris, 'read-write', context);
      });
    },
  },
  {
    name: 'open for writing: a second opener is refused and told who holds it',
    clauses: ['CUT-3'],
    run: async (env) => {
      const { family, context } = env;
      await withSubject(env, async (subject) => {
        for (const mode of ['read-write', 'read-only'] as const) {
          const error = await rejectsWith('instance.locked', () =>
            family.open(subject.uris, mode, context),
          );
          ok(error.message.includes(String(process.pid)), error.message);
        }
      });
    },
  },
  {
    name: 'open for reading twice: both read; a writer is refused until they close',
    clauses: ['FAM-1'],
    run: async (env) => {
      const { family, context } = env;
      await withSubject(env, async (subject) => {
        await subject.apply(appendOf(0n, 300));
        await subject.instance.close();
        const readers = [
          await family.open(subject.uris, 'read-only', context),
          await family.open(subject.uris, 'read-only', context),
        ];
        for (const reader of readers) {
          deepStrictEqual(await dumpState(reader), dumpModel(subject.model));
        }
        await rejectsWith('instance.locked', () =>
          family.open(subject.uris, 'read-write', context),
        );
        for (const reader of readers) await reader.close();
        subject.instance = await family.open(subject.uris, 'read-write', context);
      });
    },
  },
  {
    name: 'open read-only: every change is refused',
    clauses: ['FAM-1'],
    run: async (env) => {
      const { family, context } = env;
      await withSubject(env, async (subject) => {
        await subject.apply({ ...appendOf(0n, 3), snapshot: snapshotOf(2n, 'two') });
        await subject.instance.close();
        subject.instance = await family.open(subject.uris, 'read-only', context);
        const { instance } = subject;
        await subject.check();
        await rejectsWith('instance.read-only', () => instance.apply({ meta: { term: 9n } }));
        await rejectsWith('instance.read-only', () => instance.apply({ reset: 4n }));
        await rejectsWith('instance.read-only', () =>
          instance.snapshots.begin(snapshotOf(3n, 'three').meta),
        );
      });
    },
  },
  {
    name: 'closed: every call is refused',
    clauses: ['LOG-8'],
    run: async (env) => {
      const { instance } = await Subject.create(env);
      await instance.close();
      await instance.close();
      await rejectsWith('instance.closed', () => instance.apply({ meta: { term: 2n } }));
      await rejectsWith('instance.closed', () => instance.snapshots.latest());
    },
  },
];

const otherFiles: ModelSnapshot['files'] = [
  { path: 'data', content: Buffer.alloc(2_500_000, 'large'), userMeta: null },
  { path: 'grüße/ein name', content: Buffer.from('x'), userMeta: null },
  { path: 'B', content: Buffer.from('upper'), userMeta: null },
];

export const snapshotCases: readonly ConformanceCase[] = [
  {
    name: 'no snapshot: latest is null; published: its files and metadata are read back',
    clauses: ['FAM-5', 'LOG-7'],
    run: (env) =>
      withSubject(env, async (subject) => {
        strictEqual(await subject.instance.snapshots.latest(), null);
        await subject.apply({ snapshot: { ...snapshotOf(4n, 'four'), files: otherFiles } });
        await subject.reopen();
        await subject.apply({ snapshot: { ...snapshotOf(5n, 'five'), files: [] } });
      }),
  },
  {
    name: 'replaced while a reader holds it: the reader keeps what it opened until it closes',
    clauses: ['LOG-7'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply({ snapshot: snapshotOf(4n, 'first') });
        const held = await subject.instance.snapshots.latest();
        ok(held !== null);
        const before = dumpModel(subject.model).snapshot;
        await subject.apply({ snapshot: snapshotOf(4n, 'replaced') });
        await subject.apply({ snapshot: snapshotOf(6n, 'later') });
        await subject.check();
        deepStrictEqual(await dumpSnapshot(held), before);
      }),
  },
  {
    name: 'read beside its replacing: each reader finds one snapshot, whole',
    clauses: ['LOG-7', 'FAM-7'],
    run: (env) =>
      withSubject(env, async (subject) => {
        const all = Array.from({ length: 12 }, (_, i) => snapshotOf(4n, `label ${i}`));
        const whole = all.map((snapshot) => dumpModel({ ...emptyModel, snapshot }).snapshot);
        const writing = { isDone: false };
        // Others have their turn: memory answers at once.
        const read = async () => {
          while (!writing.isDone) {
            const reader = await subject.instance.snapshots.latest();
            const found = reader && (await dumpSnapshot(reader));
            ok([null, ...whole].some((one) => isDeepStrictEqual(one, found)));
            await setImmediate();
          }
        };
        const write = async () => {
          for (const snapshot of all) await subject.apply({ snapshot });
        };
        const written = write().finally(() => (writing.isDone = true));
        await Promise.all([written, read(), read()]);
      }),
  },
  {
    name: 'prepared but not published, or aborted: not there after a reopen',
    clauses: ['LOG-7', 'DUAL-7'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply({ snapshot: snapshotOf(4n, 'kept') });
        const aborted = await subject.instance.snapshots.begin(snapshotOf(5n, 'aborted').meta);
        await aborted.file({ path: 'x', userMeta: null }, [Buffer.from('x')]);
        await aborted.abort();
        const prepared = await prepareSnapshot(subject.instance, snapshotOf(6n, 'prepared'));
        await prepared.abort();
        await prepareSnapshot(subject.instance, snapshotOf(7n, 'left'));
        await subject.reopen();
        await subject.apply({ snapshot: snapshotOf(7n, 'published after all') });
      }),
  },
  {
    name: 'names outside the tree, or given twice: refused',
    clauses: ['FAM-10'],
    run: (env) =>
      withSubject(env, async ({ instance }) => {
        const writer = await instance.snapshots.begin(snapshotOf(4n, 'four').meta);
        await writer.file({ path: 'a', userMeta: null }, [Buffer.from('a')]);
        for (const path of [
          '',
          '/etc/passwd',
          '../a',
          'b/../../c',
          'b//c',
          './b',
          'z\0',
          'a',
          'a/b',
        ]) {
          await rejectsWith('snapshot.invalid-path', () =>
            writer.file({ path, userMeta: null }, [Buffer.from('b')]),
          );
        }
        await writer.abort();
      }),
  },
  {
    name: 'a file that is not in the snapshot: refused by name',
    clauses: ['LOG-7'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply({ snapshot: snapshotOf(4n, 'four') });
        const reader = await subject.instance.snapshots.latest();
        ok(reader !== null);
        await rejectsWith('snapshot.file-missing', async () => {
          for await (const piece of reader.read('nowhere')) strictEqual(piece.length, 0);
        });
        await reader.close();
      }),
  },
];

/** Of a family alone: a pair has settled what it found before it serves. */
export const foundCases: readonly ConformanceCase[] = [
  {
    name: 'prepared under a tag: found after a reopen, published or aborted then, and not found again',
    clauses: ['DUAL-7'],
    run: (env) =>
      withSubject(env, async (subject) => {
        await subject.apply({ snapshot: snapshotOf(4n, 'replaced') });
        for (const [tag, index] of [
          ['later', 6n],
          ['of-the-same-index', 6n],
        ] as const) {
          const next = snapshotOf(index, tag);
          await prepareSnapshot(subject.instance, next, tag);
          await subject.reopen();
          const [found, ...rest] = await subject.instance.snapshots.found();
          ok(found !== undefined);
          deepStrictEqual([found.tag, rest], [tag, []]);
          deepStrictEqual(dumpSnapshotMeta(found.meta), dumpSnapshotMeta(next.meta));
          deepStrictEqual(
            found.files.map(({ path, bytes }) => [path, bytes]),
            next.files.toSorted(byPathBytes).map(({ path, content }) => [path, content.length]),
          );
          await subject.instance.apply({ snapshot: found });
          subject.model = applyToModel(subject.model, { snapshot: next });
          await subject.reopen();
        }
        await prepareSnapshot(subject.instance, snapshotOf(9n, 'given up'), 'given-up');
        await subject.reopen();
        for (const found of await subject.instance.snapshots.found()) await found.abort();
        await subject.reopen();
        deepStrictEqual(await subject.instance.snapshots.found(), []);
        await subject.apply({ snapshot: snapshotOf(9n, 'published after all') });
      }),
  },
];

const staged: StateModel = {
  firstIndex: 7n,
  entries: entriesOf(7n, 106n, 2n),
  meta: { term: 5n, votedFor: voteA, auxiliary: new Map([['commit', Buffer.from([9])]]) },
  snapshot: snapshotOf(8n, 'staged'),
};

async function stagePart(place: StagingInstance, from: bigint, to: bigint): Promise<void> {
  const list = staged.entries.filter((entry) => entry.index >= from && entry.index <= to);
  await place.append(batchOf(list));
}

async function stageSnapshot(place: StagingInstance, snapshot: ModelSnapshot): Promise<void> {
  const writer = await place.snapshot(snapshot.meta);
  for (const { content, ...file } of snapshot.files) await writer.file(file, [content]);
  await writer.prepare();
}

async function refusesToOpen(
  { family, context }: ConformanceEnv,
  uris: InstanceUris,
): Promise<void> {
  for (const mode of ['read-only', 'read-write', 'create'] as const) {
    const refused = await family.open(uris, mode, context).then(
      () => null,
      (error: unknown) => error,
    );
    const codes = ['instance.staging', 'instance.not-empty', 'instance.locked'] as const;
    ok(
      codes.some((code) => hasCode(refused, code)),
      `${mode} must be refused: ${String(refused)}`,
    );
  }
  ok((await family.occupied(uris, context)) !== null);
}

async function requireStaged(env: ConformanceEnv, uris: InstanceUris): Promise<void> {
  for (const mode of ['read-only', 'read-write'] as const) {
    const instance = await env.family.open(uris, mode, env.context);
    deepStrictEqual(await dumpState(instance), dumpModel(staged));
    await instance.close();
  }
}

export const stagingCases: readonly ConformanceCase[] = [
  {
    name: 'staged and published: it never opens before, and then holds exactly what was given',
    clauses: ['FAM-2', 'BOOT-4'],
    run: async (env) => {
      const uris = env.uris();
      const place = await env.family.stage(uris, env.context);
      strictEqual(place.progress, null);
      await refusesToOpen(env, uris);
      await place.begin(staged.firstIndex);
      await place.setMeta(staged.meta);
      await stagePart(place, 7n, 50n);
      await place.checkpoint({ firstIndex: 7n, lastIndex: 50n, note: { part: 'half' } });
      await refusesToOpen(env, uris);
      await stagePart(place, 51n, 106n);
      await stageSnapshot(place, snapshotOf(8n, 'a first try'));
      await stageSnapshot(place, snapshotOf(8n, 'staged'));
      await place.publish();
      await requireStaged(env, uris);
    },
  },
  {
    name: 'let go of after a checkpoint: it resumes there, with nothing that came later',
    clauses: ['BOOT-4'],
    run: async (env) => {
      const uris = env.uris();
      const first = await env.family.stage(uris, env.context);
      await first.begin(staged.firstIndex);
      await first.setMeta(staged.meta);
      await stagePart(first, 7n, 40n);
      const progress = { firstIndex: 7n, lastIndex: 40n, note: { resumedAt: [1, 'two'] } };
      await first.checkpoint(progress);
      await stagePart(first, 41n, 60n);
      await stageSnapshot(first, snapshotOf(99n, 'of no checkpoint'));
      await first.close();
      await refusesToOpen(env, uris);
      const second = await env.family.stage(uris, env.context);
      deepStrictEqual(second.progress, progress);
      await rejectsWith('log.gap', () => stagePart(second, 61n, 62n));
      await stagePart(second, 41n, 106n);
      await stageSnapshot(second, snapshotOf(8n, 'staged'));
      await second.publish();
      await requireStaged(env, uris);
    },
  },
  {
    name: 'let go of before any checkpoint: it begins anew',
    clauses: ['BOOT-4'],
    run: async (env) => {
      const uris = env.uris();
      const first = await env.family.stage(uris, env.context);
      await first.begin(1n);
      await first.append(batchOf(entriesOf(1n, 30n, 9n)));
      await first.setMeta({ term: 99n, votedFor: null, auxiliary: new Map() });
      await first.close();
      const second = await env.family.stage(uris, env.context);
      strictEqual(second.progress, null);
      await second.begin(staged.firstIndex);
      await second.setMeta(staged.meta);
      await stagePart(second, 7n, 106n);
      await stageSnapshot(second, snapshotOf(8n, 'staged'));
      await second.publish();
      await requireStaged(env, uris);
    },
  },
  {
    name: 'staged by one: a second one is refused and told who holds it',
    clauses: ['BOOT-4'],
    run: async (env) => {
      const uris = env.uris();
      const place = await env.family.stage(uris, env.context);
      const error = await rejectsWith('instance.locked', () => env.family.stage(uris, env.context));
      ok(error.message.includes(String(process.pid)), error.message);
      await place.close();
    },
  },
  {
    name: 'published with an empty log and nothing else: an instance at that position',
    clauses: ['FAM-2'],
    run: async (env) => {
      const uris = env.uris();
      const place = await env.family.stage(uris, env.context);
      const meta = { term: 1n, votedFor: null, auxiliary: new Map() };
      await place.begin(12n);
      await place.setMeta(meta);
      await place.publish();
      const instance = await env.family.open(uris, 'read-write', env.context);
      const expected = { firstIndex: 12n, entries: [], meta, snapshot: null };
      deepStrictEqual(await dumpState(instance), dumpModel(expected));
      await instance.close();
    },
  },
];

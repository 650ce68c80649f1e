import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { MigrationReport } from '../../client/migrations.ts';
import type { Direction } from '../../core/phases.ts';
import {
  equivalenceReportSchema,
  type EquivalenceReport,
} from '../../schemas/equivalence-report.ts';
import { readJournal } from '../../storage/binding/journal.ts';
import { urisNow } from '../../storage/binding/parking.ts';
import type { Instance, InstanceUris } from '../../storage/contracts.ts';
import { batchOf, entryAt, type LogEntry } from '../../storage/entry-batch.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { ApiProcess } from '../api/api-process.ts';
import { missing } from '../setup/toolchain.ts';
import { sharedTemporal } from '../setup/shared-temporal.ts';
import { holdPhase } from '../soak/hold-phase.ts';
import { eventually, MigrationEnvironment } from './migration-environment.ts';
import { treeBytes } from './tree-bytes.ts';

describe.skipIf(missing('temporal'))('a target that is altered before its validation', () => {
  let environment: MigrationEnvironment;
  let source: string;

  beforeAll(async () => {
    environment = await MigrationEnvironment.create(await sharedTemporal());
    source = await environment.unpack('node-killed', 'a');
    await Promise.all([environment.start('control'), environment.start('agent')]);
  });

  afterAll(() => environment.close());

  test('with another entry: the migration rolls back by itself, says where they differ, and the source is as before [EQ-4] [OPS-2] [I12]', async () => {
    const before = await treeBytes(join(environment.data, 'a'));
    const reason = await migrateAltered(
      { id: 'm1', target: environment.uri('local', 'b') },
      (target) => replaceEntry(target, 300n),
    );

    const report = await differenceReport('m1');
    expect(report.differences).toEqual([
      expect.objectContaining({ part: 'log', kind: 'content', index: '300' }),
    ]);
    const difference = report.differences[0];
    expect(difference?.a).not.toBe(difference?.b);
    expect(reason).toContain(report.summary);
    await expectServed(report);
    expect(await stepsOf('m1')).toEqual([
      ...['stop', 'fence', 'stop-again', 'look', 'copy', 'publish', 'validate'],
      ...['discard', 'repoint-back', 'unfence', 'start-back', 'probe-back'],
    ]);
    expect(await treeBytes(join(environment.data, 'a'))).toEqual(before);
    // Nothing of the target is left but the fence at each of its places.
    const left = await readdir(join(environment.data, 'b'));
    expect(left.toSorted()).toEqual(['log', 'raft_meta', 'snapshot']);
    expect((await stat(join(environment.data, 'b', 'log'))).isFile()).toBe(true);
  });

  test('with another vote, in rocksdb: likewise [EQ-4] [OPS-2] [I12]', async () => {
    const before = await treeBytes(join(environment.data, 'a'));
    await migrateAltered({ id: 'm2', target: environment.uri('rocksdb', 'c') }, (target) =>
      target.apply({ meta: { term: target.state().meta.term + 1n, votedFor: null } }),
    );

    expect((await differenceReport('m2')).differences).toEqual([
      expect.objectContaining({ part: 'metadata' }),
    ]);
    expect(await treeBytes(join(environment.data, 'a'))).toEqual(before);
  });

  test('in a reversal, twice: an operator is asked before a third copy is made, and resumed it ends [CUT-6] [OPS-2]', async () => {
    const { client, replica, store } = environment;
    const [id, target] = ['m3', environment.uri('sqlite', 'd')];
    const policy = { approval: 'none', finalize: 'manual' } as const;
    await client.start(environment.input({ id, source, target, policy }));
    await waiting('finalize');
    const raise = (instance: Instance) =>
      instance.apply({ meta: { term: instance.state().meta.term + 1n, votedFor: null } });
    await change(defaultFamilies().expand(target), raise);
    const again: Promise<void>[] = [];
    const altered = beforeValidation({ id, direction: 'back' }, async (copy) => {
      await raise(copy);
      // Before the workflow goes on, so that the second copy is not missed.
      again.push(beforeValidation({ id, direction: 'back' }, raise));
    });
    await client.rollback(replica, 'test');
    await altered;
    await Promise.all(again);

    const { status } = await waiting('failed');
    expect(status?.waiting?.reason).toContain('2 copies differed');
    expect((await store.read())?.migration).toMatchObject({ phase: 'copy', direction: 'back' });
    await client.resume(replica);
    expect(await environment.outcome()).toMatchObject({ outcome: 'rolled-back' });
  });

  function waiting(kind: string): Promise<MigrationReport> {
    return eventually(`it waits: ${kind}`, async () => {
      const report = await environment.client.status(environment.replica);
      return report.status?.waiting?.kind === kind ? report : null;
    });
  }

  /** Runs a migration whose published target `alter` changes; answers why it was rolled back. */
  async function migrateAltered(
    given: { readonly id: string; readonly target: string },
    alter: (target: Instance) => Promise<void>,
  ): Promise<string | null> {
    const altered = beforeValidation(given, alter);
    await environment.client.start(environment.input({ ...given, source }));
    await altered;
    const { outcome, reason } = await environment.outcome();
    expect(outcome).toBe('rolled-back');
    expect(await environment.store.read()).toMatchObject({
      migration: null,
      primary: { parkedTag: null, uris: { log: `${source}/log` } },
      lastEnded: { id: given.id, result: 'rolled-back' },
    });
    return reason;
  }

  /** Brings the migration to stand, paused, before `validate`, and alters what it published. */
  async function beforeValidation(
    { id, direction = 'forward' }: { readonly id: string; readonly direction?: Direction },
    alter: (target: Instance) => Promise<void>,
  ): Promise<void> {
    const { client, replica, store } = environment;
    const hold = await holdPhase(store, { migrationId: id, phase: 'publish', direction });
    if (hold === null) throw new Error('the migration was not caught before it had published');
    await client.pause(replica);
    await hold.release();
    // The record is in `publish` before the workflow has heard that the copy is done.
    if ((await pausedBefore('publish', 'validate')) === 'publish') {
      await store.locked(async () => {
        await client.resume(replica);
        await eventually('publish under way', async () => {
          const { status } = await client.status(replica);
          return status?.phase === 'publish' && status.waiting === null;
        });
        await client.pause(replica);
      });
      await pausedBefore('validate');
    }
    const published = (await store.read())?.migration?.target;
    if (published === undefined) throw new Error('the migration has ended');
    await change(urisNow(defaultFamilies(), published), alter);
    await client.resume(replica);
  }

  /** The phase, one of `phases`, before which the migration stands, paused. */
  async function pausedBefore(...phases: readonly string[]): Promise<string> {
    return await eventually(`the pause before ${phases.join(' or ')}`, async () => {
      const { status } = await environment.client.status(environment.replica);
      if (status?.waiting?.kind !== 'paused') return null;
      return phases.find((phase) => phase === status.phase);
    });
  }

  async function differenceReport(id: string) {
    const { proofs } = environment.store.directory;
    const names = (await readdir(proofs)).filter((name) => name.startsWith(`${id}-`));
    expect(names).toEqual([expect.stringMatching(/-difference\.json$/)]);
    const text = await readFile(join(proofs, names[0] ?? ''), 'utf8');
    return equivalenceReportSchema.parse(JSON.parse(text));
  }

  /** Through the API it is the same. */
  async function expectServed(report: EquivalenceReport): Promise<void> {
    const { cluster, member } = environment.replica;
    const path = `/v1/migrations/${cluster}/${member}/proofs`;
    const api = await ApiProcess.start(await sharedTemporal());
    try {
      const { body } = await api.get(path);
      const [item] = body['items'] as { readonly file: string }[];
      expect(item).toMatchObject({ kind: 'report', digest: null });
      expect((await api.get(`${path}/${item?.file ?? ''}`)).body).toEqual(report);
    } finally {
      await api.close();
    }
  }

  async function stepsOf(id: string): Promise<unknown[]> {
    const lines = await readJournal(nodeFileLayer, environment.store.directory.journal);
    const end = lines.findIndex((line) => line['endedMigration'] === id);
    return lines
      .slice(0, end + 1)
      .filter((line) => line['outcome'] !== undefined)
      .map((line) => line['step']);
  }
});

async function change(
  uris: InstanceUris,
  alter: (target: Instance) => Promise<void>,
): Promise<void> {
  const target = await defaultFamilies().open(uris, 'read-write', { files: nodeFileLayer });
  try {
    await alter(target);
  } finally {
    await target.close();
  }
}

/** Puts another payload into an entry, with everything after it as it was. */
async function replaceEntry(target: Instance, index: bigint): Promise<void> {
  const { lastIndex } = target.state();
  const tail: LogEntry[] = [];
  for await (const batch of target.read(index, lastIndex)) {
    for (let i = 0; i < batch.count; i += 1) {
      const entry = entryAt(batch, i);
      tail.push({ ...entry, payload: Buffer.from(entry.payload) });
    }
  }
  const [first] = tail;
  if (first === undefined) throw new RangeError(`no entry ${index}`);
  tail[0] = { ...first, payload: Buffer.from('another payload') };
  await target.apply({ truncate: { lastKept: index - 1n } });
  await target.apply({ entries: { after: index - 1n, batches: [batchOf(tail)] } });
}

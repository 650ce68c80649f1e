import { expect, test } from 'vitest';

import { assert, hasCode } from '../../core/errors.ts';
import { contractVersion } from '../../core/ids.ts';
import { promoteSide } from '../../host/promote-side.ts';
import { ServedReplica, type ServedReplicaOptions } from '../../host/served-replica.ts';
import type { BindingRecord } from '../../schemas/binding-record.ts';
import { inputDigest } from '../../schemas/input-digest.ts';
import { migrationInputSchema } from '../../schemas/migration.ts';
import { readJournal } from '../../storage/binding/journal.ts';
import { RecordStore } from '../../storage/binding/record-store.ts';
import { ownReplica } from '../../storage/binding/replica-lease.ts';
import { requireCaller } from '../../storage/binding/step-guard.ts';
import { batchOf } from '../../storage/entry-batch.ts';
import { FamilyRegistry } from '../../storage/family-registry.ts';
import { createLocalFamily } from '../../storage/families/local/family.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { everyCrash } from '../../storage/testing/every-crash.ts';

const families = new FamilyRegistry([createLocalFamily({ maxSegmentBytes: 400 })]);
const seed = Number(process.env['SEED'] ?? 20266);
const replica = { cluster: 'kv', member: 'n1' };
const target = families.expand('local:///data/b');
const written = 12n;

function optionsOn(files: CrashFileLayer): ServedReplicaOptions {
  const uris = families.expand('local:///data/a');
  const policy = { onFailure: 'fail', limitMs: null } as const;
  const given = { files, families, stateDir: '/state', replica, uris, create: true, policy };
  return { ...given, fullValidationEverySeconds: 86_400, by: 'test', log: () => {} };
}

/** Twelve entries in dual write; then the primary's place is empty. */
async function withoutPrimary(files: CrashFileLayer): Promise<void> {
  const served = await ServedReplica.start(optionsOn(files));
  const { epoch } = await served.open({ opener: '', resumes: 0n });
  await served.mirror.begin(target);
  await served.mirror.bootstrap();
  await served.apply(epoch, { entries: { after: 0n, batches: [batchOf(entriesOf(1n, written))] } });
  await served.close();
  await files.rename('/data/a', '/data/gone');
  await files.syncDirectory('/data');
}

const wish = { side: 'mirror', by: 'somebody', reason: 'its disk is gone' } as const;

test(`a promotion stopped at every operation: the replica is as before, or on its mirror; asked again, it is (SEED=${seed}) [CUT-5] [I8] [I18] [I19]`, async () => {
  const operations = await everyCrash({
    seed,
    prepare: withoutPrimary,
    run: async (files) => void (await promoteSide(optionsOn(files), wish)),
    check: async (files, { ended }) => {
      const options = optionsOn(files);
      const first = await ServedReplica.start(options).catch((error: unknown) => error);
      if (!(first instanceof ServedReplica)) {
        expect([ended, hasCode(first, 'instance.missing')]).toEqual([false, true]);
        await promoteSide(options, wish);
      }
      const served = first instanceof ServedReplica ? first : await ServedReplica.start(options);
      const { state } = await served.open({ opener: '', resumes: 0n });
      expect([state.firstIndex, state.lastIndex]).toEqual([1n, written]);
      const store = new RecordStore({ files, stateDir: '/state', replica, now: () => new Date() });
      const record = await store.read();
      expect(record?.primary.uris).toEqual(target);
      expect(record?.former).toMatchObject({ next: 'keep', alarm: 'primary lost' });
      const lines = await readJournal(files, store.directory.journal);
      expect(lines.findLast((line) => line['event'] === 'promote')).toMatchObject({
        revision: record?.revision,
        reason: wish.reason,
      });
      await served.close();
    },
  });
  expect(operations).toBeGreaterThan(10);
}, 120_000);

test('a live migration that owns the replica ends with the promotion, as abandoned, and what it still asks for comes too late [OPS-5] [OPS-6] [I13]', async () => {
  const files = new CrashFileLayer(seed);
  await withoutPrimary(files);
  const store = new RecordStore({ files, stateDir: '/state', replica, now: () => new Date() });
  const before = await store.read();
  const source = families.expand('local:///data/a');
  const input = migrationInputSchema.parse({
    contractVersion,
    migrationId: 'm1',
    replica,
    host: 'h1',
    source,
    target,
    policy: {},
    requestedBy: 'tests',
  });
  const owning = {
    input,
    inputDigest: inputDigest(input),
    agentId: 'agent',
    mode: 'live',
    claim: 'claim',
    expectedLease: before?.lease ?? 0,
    naming: (write: () => Promise<BindingRecord>) => write(),
  } as const;
  const owned = await ownReplica(store, owning);
  assert(owned.kind === 'owned' && owned.record.migration !== null, 'it owns the replica');
  const { lease, migration } = owned.record;

  await promoteSide(optionsOn(files), wish);

  const after = await store.read();
  assert(after !== null, 'there is a record');
  expect(after).toMatchObject({
    migration: null,
    lease: lease + 1,
    lastEnded: { id: 'm1', result: 'abandoned', last: { info: { reason: wish.reason } } },
  });
  const claim = {
    migrationId: 'm1',
    phase: migration.phase,
    token: { lease, step: 1, attempt: 1 },
  };
  expect(() => requireCaller(after, claim)).toThrow('superseded');
  expect(await ownReplica(store, owning)).toEqual({ kind: 'ended', result: 'abandoned' });
});

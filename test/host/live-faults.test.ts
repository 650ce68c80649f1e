import { describe, expect, test } from 'vitest';

import { ServedReplica, type ServedReplicaOptions } from '../../host/served-replica.ts';
import { RecordStore } from '../../storage/binding/record-store.ts';
import { FamilyRegistry } from '../../storage/family-registry.ts';
import { createLocalFamily } from '../../storage/families/local/family.ts';
import type { FileLayer } from '../../storage/file-layer.ts';
import { batchOf } from '../../storage/entry-batch.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { FailingFiles } from './failing-files.ts';

const families = new FamilyRegistry([createLocalFamily({ maxSegmentBytes: 400 })]);
const target = families.expand('local:///data/b');
const replica = { cluster: 'kv', member: 'n1' };

function optionsOn(files: FileLayer): ServedReplicaOptions {
  return {
    files,
    families,
    stateDir: '/state',
    replica,
    uris: families.expand('local:///data/a'),
    create: true,
    policy: { onFailure: 'detach', limitMs: null },
    by: 'test',
    log: () => {},
  };
}

async function sessionOf(served: ServedReplica) {
  const { epoch, state } = await served.open({ opener: '', resumes: 0n });
  let last = state.lastIndex;
  const append = async () => {
    const entries = { after: last, batches: [batchOf(entriesOf(last + 1n, last + 1n))] };
    await served.apply(epoch, { entries });
    last += 1n;
  };
  return { append, state, epoch };
}

function recordStoreOn(files: FileLayer): RecordStore {
  return new RecordStore({ files, stateDir: '/state', replica, now: () => new Date() });
}

/** A replica with five entries, and with these steps of its migration taken. */
async function started(...steps: readonly ('bootstrap' | 'prove')[]) {
  const disk = new CrashFileLayer(1);
  const failing = new FailingFiles(disk);
  const served = await ServedReplica.start(optionsOn(failing.layer));
  const session = await sessionOf(served);
  for (let i = 0; i < 5; i += 1) await session.append();
  await served.mirror.begin(target);
  for (const step of steps) await served.mirror[step]();
  return { disk, failing, served, session };
}

const isAcknowledged = (write: Promise<void>) =>
  write.then(
    () => true,
    () => false,
  );

describe('a step whose record is written and whose stamps cannot be', () => {
  test.each([
    ['bootstrap', [], /data\/b.*quorumshift-generation/],
    ['cutOver', ['bootstrap', 'prove'], /data\/b.*quorumshift-generation/],
    ['finalize', ['bootstrap'], /data\/a.*quorumshift-generation/],
  ] as const)(
    '%s: nothing more is acknowledged before the store is opened by what the record says [CUT-2] [I1] [I8] [LOG-8]',
    async (step, steps, stamp) => {
      const { disk, failing, served, session } = await started(...steps);
      failing.refused = stamp;
      await expect(served.mirror[step]()).rejects.toThrow('EIO');
      // The other instance than the one that the record names as primary fails now.
      failing.refused = /data\/b/;
      const told = (await isAcknowledged(session.append())) ? 6n : 5n;
      failing.refused = null;
      const next = await sessionOf(served);
      expect(next.state.lastIndex).toBeGreaterThanOrEqual(told);
      await next.append();
      const record = await recordStoreOn(disk).read();
      const { primary, mirror } = served.mirror.sides;
      expect(primary.uris).toEqual(record?.primary.uris);
      expect(mirror?.uris).toEqual(record?.mirror?.ref.uris);
      const again = await ServedReplica.start(optionsOn(disk.afterCrash(3)));
      expect((await sessionOf(again)).state.lastIndex).toBe(told + 1n);
      await again.close();
    },
  );
});

import { describe, expect, test } from 'vitest';

import { ServedReplica, type ServedReplicaOptions } from '../../host/served-replica.ts';
import { RecordStore } from '../../storage/binding/record-store.ts';
import { FamilyRegistry } from '../../storage/family-registry.ts';
import { createLocalFamily } from '../../storage/families/local/family.ts';
import type { FileLayer } from '../../storage/file-layer.ts';
import { readWhole, removeTree, writeDurably } from '../../storage/files.ts';
import { batchOf } from '../../storage/entry-batch.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { FailingFiles } from './failing-files.ts';

const families = new FamilyRegistry([createLocalFamily({ maxSegmentBytes: 400 })]);
const target = families.expand('local:///mirrors/b');
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
    fullValidationEverySeconds: 86_400,
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
    ['bootstrap', [], /mirrors\/b.*quorumshift-generation\.json$/],
    ['cutOver', ['bootstrap', 'prove'], /mirrors\/b.*quorumshift-generation\.json$/],
    ['drop', ['bootstrap'], /data\/a.*quorumshift-generation\.json$/],
  ] as const)(
    '%s: nothing more is acknowledged before the store is opened by what the record says [CUT-2] [I1] [I8] [LOG-8]',
    async (step, steps, stamp) => {
      const { disk, failing, served, session } = await started(...steps);
      failing.refused = stamp;
      await expect(served.mirror[step]()).rejects.toThrow('EIO');
      // The other instance than the one that the record names as primary fails now.
      failing.refused = /mirrors\/b/;
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

describe('a mirror that fails after its proof', () => {
  test('is left, and a cutover to it is refused by name [DUAL-8] [I3] [EQ-5]', async () => {
    const { failing, served, session } = await started('bootstrap', 'prove');
    failing.refused = /mirrors\/b/;
    while (served.mirror.sides.mirror !== null) await session.append();
    await expect(served.mirror.cutOver()).rejects.toMatchObject({ code: 'proof.stale' });
    await session.append();
    await served.close();
  });
});

describe('a host that stops', () => {
  test('and cannot write a watermark: it lets go of both instances all the same', async () => {
    const { disk, failing, served, session } = await started('bootstrap');
    await session.append();
    failing.refused = /watermark/;
    await served.close();
    const again = await ServedReplica.start(optionsOn(disk));
    expect((await sessionOf(again)).state.lastIndex).toBe(6n);
    await again.close();
  });
});

describe('a mirror that is gone when its host starts', () => {
  test('it is left, with the place that it lay in: the replica is served, and a record from before is refused [DUAL-8] [CUT-2] [I3]', async () => {
    const { disk, served, session } = await started('bootstrap');
    await session.append();
    await served.close();
    const path = recordStoreOn(disk).directory.record;
    const before = await readWhole(disk, path, 1_000_000);
    await removeTree(disk, '/mirrors');
    const alone = await ServedReplica.start(optionsOn(disk));
    await (await sessionOf(alone)).append();
    expect((await recordStoreOn(disk).read())?.mirror).toBeNull();
    await alone.close();
    await writeDurably(disk, path, before ?? Buffer.alloc(0));
    const restored = ServedReplica.start(optionsOn(disk));
    await expect(restored).rejects.toMatchObject({ code: 'record.stamp-newer' });
  });

  test('it alone holds what was acknowledged: it stays the mirror, and the replica is refused [DUAL-5] [I19]', async () => {
    const { disk, failing, served } = await started('bootstrap');
    await served.close();
    const shorter = await copyTree(disk, '/data/a');
    const again = await ServedReplica.start(optionsOn(failing.layer));
    const { append } = await sessionOf(again);
    await append();
    await append();
    await again.close();
    // The primary's disk has lost what it had synced.
    await removeTree(disk, '/data/a');
    await shorter();
    failing.refused = /mirrors/;
    const refused = ServedReplica.start(optionsOn(failing.layer));
    await expect(refused).rejects.toMatchObject({ code: 'pair.below-watermark' });
    expect((await recordStoreOn(disk).read())?.mirror?.stage).toBe('dual');
    failing.refused = null;
    const both = ServedReplica.start(optionsOn(failing.layer));
    await expect(both).rejects.toMatchObject({ code: 'pair.below-watermark' });
  });
});

/** What lies at the path now; the function puts it there again. */
async function copyTree(files: FileLayer, path: string): Promise<() => Promise<void>> {
  const put: (() => Promise<void>)[] = [];
  const walk = async (at: string): Promise<void> => {
    put.push(() => files.makeDirectory(at));
    for (const name of await files.list(at)) {
      const child = `${at}/${name}`;
      if ((await files.stat(child))?.kind === 'directory') await walk(child);
      else {
        const bytes = await readWhole(files, child, 1_000_000);
        put.push(() => writeDurably(files, child, bytes ?? Buffer.alloc(0)));
      }
    }
  };
  await walk(path);
  return async () => {
    for (const step of put) await step();
  };
}

import { setImmediate, setTimeout as delay } from 'node:timers/promises';

import { expect, test } from 'vitest';

import { ServedReplica } from '../../host/served-replica.ts';
import { readJournal } from '../../storage/binding/journal.ts';
import { RecordStore } from '../../storage/binding/record-store.ts';
import { batchOf } from '../../storage/entry-batch.ts';
import { FamilyRegistry } from '../../storage/family-registry.ts';
import { createLocalFamily } from '../../storage/families/local/family.ts';
import type { FileLayer } from '../../storage/file-layer.ts';
import type { MirrorPolicy } from '../../storage/replication/pair-engine.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';

const families = new FamilyRegistry([createLocalFamily({ maxSegmentBytes: 4096 })]);
const replica = { cluster: 'kv', member: 'n1' };
/** How long it takes the mirror to make anything durable. */
const slowMs = 20;

/** Makes the disk slow where the mirror lies, once it is told to be. */
function slowAt(path: string, disk: CrashFileLayer, speed: { isSlow: boolean }): FileLayer {
  const open = disk.open.bind(disk);
  disk.open = async (...given) => {
    const handle = await open(...given);
    if (!given[0].startsWith(path)) return handle;
    const slowly =
      <Given extends readonly unknown[]>(call: (...to: Given) => Promise<void>) =>
      async (...to: Given): Promise<void> => {
        if (speed.isSlow) await delay(slowMs);
        await call(...to);
      };
    handle.sync = slowly(handle.sync.bind(handle));
    if (given[2]?.synced === true) handle.write = slowly(handle.write.bind(handle));
    return handle;
  };
  return disk;
}

async function mirrored(policy: MirrorPolicy) {
  const disk = new CrashFileLayer(1);
  const speed = { isSlow: false };
  const files = slowAt('/data/b', disk, speed);
  const log: string[] = [];
  const uris = families.expand('local:///data/a');
  const places = { files, families, stateDir: '/state', replica, uris, create: true };
  const given = { ...places, policy, fullValidationEverySeconds: 86_400 };
  const served = await ServedReplica.start({ ...given, by: 'test', log: (line) => log.push(line) });
  const { epoch } = await served.open({ opener: '', resumes: 0n });
  await served.mirror.begin(families.expand('local:///data/b'));
  await served.mirror.bootstrap();
  const store = new RecordStore({ files, stateDir: '/state', replica, now: () => new Date() });
  let last = 0n;
  const append = async () => {
    const entries = { after: last, batches: [batchOf(entriesOf(last + 1n, last + 1n))] };
    await served.apply(epoch, { entries });
    last += 1n;
    // The disk answers within the same turn of the event loop: timers must have theirs.
    await setImmediate();
  };
  return { served, speed, log, store, append };
}

test('a mirror that is slower than allowed for as long as allowed is left, durably first, and the journal says why [DUAL-8] [I3]', async () => {
  const slow = { p99Ms: 5, forMs: 400 };
  const { served, speed, log, store, append } = await mirrored({
    onFailure: 'detach',
    limitMs: null,
    slow,
  });
  for (let i = 0; i < 20; i += 1) await append();
  expect(served.latencies().lag.count).toBe(20);
  speed.isSlow = true;
  while (served.mirror.sides.mirror !== null) await append();
  // The append that saw it was acknowledged with the record already changed.
  expect((await store.read())?.mirror).toBeNull();
  const lines = await readJournal(store.files, store.directory.journal);
  expect(lines.at(-1)?.['event']).toBe('mirror-detached');
  expect(lines.at(-1)?.['cause']).toContain('too slow for 400 ms: its p99 was');
  expect(log.join()).toContain('goes on without its mirror');
  await append();
  await served.close();
});

test('policy fail, or no limit: a slow mirror stays, and its latency is told [DUAL-8]', async () => {
  for (const policy of [
    { onFailure: 'fail', limitMs: null, slow: { p99Ms: 1, forMs: 50 } },
    { onFailure: 'detach', limitMs: null, slow: null },
  ] as const) {
    const { served, speed, append } = await mirrored(policy);
    speed.isSlow = true;
    for (let i = 0; i < 10; i += 1) await append();
    expect(served.mirror.sides.mirror).not.toBeNull();
    const { lag, mirror, append: whole } = served.latencies();
    expect(lag.p99Ms).toBeGreaterThan(0);
    expect(mirror.p99Ms).toBeGreaterThanOrEqual(lag.p99Ms);
    expect(whole.p99Ms).toBeGreaterThanOrEqual(mirror.p50Ms);
    await served.close();
  }
});

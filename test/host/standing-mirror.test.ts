import { setImmediate } from 'node:timers/promises';

import { describe, expect, onTestFinished, test, vi } from 'vitest';

import { ServedReplica } from '../../host/served-replica.ts';
import { batchOf } from '../../storage/entry-batch.ts';
import { createLocalFamily } from '../../storage/families/local/family.ts';
import { FamilyRegistry } from '../../storage/family-registry.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { StandingFiles } from '../replication/standing-files.ts';
import { FailingFiles } from './failing-files.ts';

const families = new FamilyRegistry([createLocalFamily({ maxSegmentBytes: 400 })]);
const limitMs = 50;

/** A pair whose mirror's disk can stand still, and whose primary's can fail. */
async function paired(onFailure: 'detach' | 'fail') {
  const standing = new StandingFiles(new CrashFileLayer(1));
  const failing = new FailingFiles(standing.layer);
  const served = await ServedReplica.start({
    files: failing.layer,
    families,
    stateDir: '/state',
    replica: { cluster: 'kv', member: 'n1' },
    uris: families.expand('local:///data/a'),
    create: true,
    policy: { onFailure, limitMs },
    fullValidationEverySeconds: 86_400,
    by: 'test',
    log: () => {},
  });
  onTestFinished(() => served.close());
  const open = async () => {
    const { epoch, state } = await served.open({ opener: '', resumes: 0n });
    let last = state.lastIndex;
    return async (count = 1n) => {
      const batches = [batchOf(entriesOf(last + 1n, last + count))];
      await served.apply(epoch, { entries: { after: last, batches } });
      last += count;
    };
  };
  const append = await open();
  await append();
  await served.mirror.begin(families.expand('local:///mirrors/b'));
  await served.mirror.bootstrap();
  /** Whoever appends so much needs another segment, which the primary's disk refuses. */
  const failPrimary = async (by: (count: bigint) => Promise<void>) => {
    failing.refused = /data\/a/;
    await expect(by(20n)).rejects.toThrow('EIO');
    failing.refused = null;
  };
  return { served, standing, failing, open, append, failPrimary };
}

const mirrorCalls = /^(write|sync|open|truncate) \/mirrors\/b/;

describe('a mirror that does not answer', () => {
  test('and was left: the replica opens again after a failure of its primary; what was left is put away once it has answered [DUAL-8] [LOG-8]', async () => {
    const { served, standing, open, append, failPrimary } = await paired('detach');
    standing.stand(mirrorCalls);
    await append();
    expect(served.mirror.sides.mirror).toBeNull();
    await failPrimary(append);
    await (
      await open()
    )();
    let isDropped = false;
    const dropped = served.mirror.drop().then(() => (isDropped = true));
    for (let turn = 0; turn < 50; turn += 1) await setImmediate();
    expect(isDropped).toBe(false);
    standing.goOn();
    await dropped;
  });

  test('when its primary fails, policy detach: it is left, and the replica opens again alone [DUAL-8] [LOG-8] [I3]', async () => {
    const { served, standing, open, append, failPrimary } = await paired('detach');
    standing.stand(mirrorCalls);
    await failPrimary(append);
    await (
      await open()
    )();
    expect(served.mirror.sides.mirror).toBeNull();
    const { record } = await served.status();
    expect([record.mirror, record.former?.next]).toEqual([null, 'keep']);
    standing.goOn();
    await served.mirror.drop();
  });

  test('when its primary fails, policy fail: opening is refused by name until it has answered; then both go on [DUAL-8] [LOG-8]', async () => {
    const { served, standing, open, append, failPrimary } = await paired('fail');
    standing.stand(mirrorCalls);
    await failPrimary(append);
    await expect(open()).rejects.toMatchObject({ code: 'instance.locked' });
    standing.goOn();
    const again = await vi.waitFor(open, { timeout: 10_000 });
    await again();
    expect(served.mirror.sides.mirror).not.toBeNull();
    await served.mirror.prove();
  });
});

import { describe, expect, test } from 'vitest';

import { memoryFamily as memory } from '../../storage/families/memory/family.ts';
import { bringForward } from '../../storage/replication/catch-up.ts';
import { openPair } from '../../storage/replication/open-pair.ts';
import { defaultWindow } from '../../storage/replication/pair-window.ts';
import { Watermark } from '../../storage/replication/watermark.ts';
import { appendOf, entriesOf, voteA } from '../../storage/testing/conformance-env.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { dumpState } from '../../storage/testing/state-dump.ts';
import { applyToInstance } from '../../storage/testing/state-model.ts';

const context = { files: new CrashFileLayer(1) };
const create = (name: string) => memory.open(memory.expand(`memory://${name}`), 'create', context);

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

describe('an instance brought forward', () => {
  test('over several votes for one candidate, saved as hashicorp/raft does: it has the last vote [LOG-6] [DUAL-3] [I4]', async () => {
    const [source, target] = [await create('votes-source'), await create('votes-target')];
    const save = async (key: string, value: Buffer) =>
      source.apply({ meta: { auxiliary: new Map([[key, value]]) } });
    for (const term of [5n, 6n]) {
      await save('CurrentTerm', u64(term));
      await save('LastVoteTerm', u64(term));
      await save('LastVoteCand', Buffer.from(voteA));
      if (term === 5n) {
        await bringForward(target, source, { snapshot: 'copy-if-other', maxBytes: null });
      }
    }
    await bringForward(target, source, { snapshot: 'copy-if-other', maxBytes: null });
    expect(await dumpState(target)).toEqual(await dumpState(source));
  });
});

describe('a log that begins at index 0', () => {
  test('is opened again while its watermark claims nothing [DUAL-5] [FAM-10]', async () => {
    const primary = await create('zero');
    const list = entriesOf(0n, 2n, 4n);
    await applyToInstance(primary, { reset: 0n, entries: { after: -1n, list } });
    const { instance } = await openPair({
      primary,
      mirror: null,
      limits: { primary: memory.limits, mirror: null },
      watermark: await Watermark.open(new CrashFileLayer(2), '/watermark'),
      window: defaultWindow,
      policy: { onFailure: 'fail', limitMs: null },
      detached: () => Promise.reject(new Error('not expected')),
    });
    await applyToInstance(instance, appendOf(2n, 1, 4n));
    expect(instance.state().lastIndex).toBe(3n);
    await instance.close();
  });
});

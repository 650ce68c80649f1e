import { describe, expect, test } from 'vitest';

import type { ErrorCode } from '../../core/errors.ts';
import { createLocalFamily } from '../../storage/families/local/family.ts';
import { openPair, type Pair } from '../../storage/replication/open-pair.ts';
import type { MirrorPolicy } from '../../storage/replication/pair-engine.ts';
import { Watermark, type WatermarkState } from '../../storage/replication/watermark.ts';
import {
  appendOf,
  entriesOf,
  rejectsWith,
  snapshotOf,
  voteA,
  voteB,
} from '../../storage/testing/conformance-env.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { dumpState } from '../../storage/testing/state-dump.ts';
import { applyToInstance, type ModelMutation } from '../../storage/testing/state-model.ts';

const local = createLocalFamily({ maxSegmentBytes: 400 });
const window = { entries: 10, bytes: 100_000 };

interface Given {
  readonly primary: readonly ModelMutation[];
  readonly mirror: readonly ModelMutation[];
  readonly watermark?: Partial<WatermarkState>;
  readonly policy?: MirrorPolicy;
  readonly detached?: (cause: Error) => Promise<void>;
}

/** Two sides that were brought to these states apart, then opened as a pair. */
async function openGiven(given: Given): Promise<Pair & { readonly mirrorFiles: CrashFileLayer }> {
  const [files, mirrorFiles] = [new CrashFileLayer(1), new CrashFileLayer(2)];
  const make = async (on: CrashFileLayer, mutations: readonly ModelMutation[], name: string) => {
    const uris = local.expand(`local:///${name}`);
    const instance = await local.open(uris, 'create', { files: on });
    for (const mutation of mutations) await applyToInstance(instance, mutation);
    return instance;
  };
  const primary = await make(files, given.primary, 'primary');
  const mirror = await make(mirrorFiles, given.mirror, 'mirror');
  const watermark = await Watermark.open(files, '/watermark');
  const { index = 0n, term = 0n, named = null } = given.watermark ?? {};
  watermark.acknowledged({ index, term });
  await watermark.advance();
  if (named !== null) await watermark.name(named, { index, term });
  const { limits } = local;
  const pair = await openPair({
    primary,
    mirror,
    watermark,
    window,
    limits: { primary: limits, mirror: limits },
    policy: given.policy ?? { onFailure: 'fail', limitMs: null },
    detached: given.detached ?? (() => Promise.reject(new Error('not expected'))),
  });
  return { ...pair, mirrorFiles };
}

/** What both sides hold after opening. */
async function recover(given: Given) {
  const { instance, engine } = await openGiven(given);
  const found = await dumpState(instance);
  const { mirror } = engine;
  expect(mirror && (await dumpState(mirror))).toEqual(found);
  expect(engine.watermark.state.named).toBeNull();
  return found;
}

const named = (log: NonNullable<WatermarkState['named']>['log']): Partial<WatermarkState> => ({
  named: { log, snapshot: null },
});
const base: ModelMutation = { ...appendOf(0n, 20, 2n), meta: { term: 2n } };
const rewritten: ModelMutation = {
  truncate: { lastKept: 12n },
  entries: { after: 12n, list: entriesOf(13n, 14n, 3n) },
  meta: { term: 3n },
};

describe('a pair whose sides differ', () => {
  test('one side is longer: its tail is copied to the other [DUAL-5] [I19]', async () => {
    const longer = [base, appendOf(20n, 4, 2n)];
    expect((await recover({ primary: [base], mirror: longer })).lastIndex).toBe(24n);
    expect((await recover({ primary: longer, mirror: [base] })).lastIndex).toBe(24n);
  });

  test('a named truncation that one side shows: completed on the other [DUAL-5]', async () => {
    const cut: ModelMutation = { truncate: { lastKept: 12n } };
    const watermark = named({ kind: 'truncate', lastKept: 12n });
    for (const [primary, mirror] of [
      [[base], [base, cut]],
      [[base, cut], [base]],
    ] as const) {
      expect((await recover({ primary, mirror, watermark })).lastIndex).toBe(12n);
    }
  });

  test('a named replacement that one side shows: completed on the other [DUAL-5]', async () => {
    const watermark = named({ kind: 'replace', index: 13n, term: 3n });
    for (const [primary, mirror] of [
      [[base], [base, rewritten]],
      [[base, rewritten], [base]],
      [
        [base, rewritten],
        [base, { truncate: { lastKept: 12n } }],
      ],
    ] as const) {
      const found = await recover({ primary, mirror, watermark });
      expect([found.lastIndex, found.entries.length]).toEqual([14n, 14]);
    }
  });

  test('a named reset that one side shows: completed on the other, up and down [DUAL-5]', async () => {
    for (const to of [40n, 15n]) {
      const reset: ModelMutation = { reset: to, ...appendOf(to - 1n, 2, 2n) };
      const watermark = named({ kind: 'reset', to });
      for (const [primary, mirror] of [
        [[base], [base, reset]],
        [[base, reset], [base]],
      ] as const) {
        const found = await recover({ primary, mirror, watermark });
        expect([found.firstIndex, found.lastIndex]).toEqual([to, to + 1n]);
      }
    }
  });

  test('a prefix truncation on one side: completed on the other [DUAL-5] [I6]', async () => {
    const compacted: ModelMutation = {
      snapshot: snapshotOf(9n, 'nine'),
      truncate: { firstKept: 10n },
    };
    const found = await recover({ primary: [base, compacted], mirror: [base] });
    expect([found.firstIndex, found.snapshot?.files.length]).toEqual([10n, 3]);
  });

  test('a named snapshot of one index: the primary has it, the mirror gets it [DUAL-7]', async () => {
    const snapshot = (label: string): ModelMutation => ({ snapshot: snapshotOf(9n, label) });
    const watermark = { named: { log: null, snapshot: { index: 9n, tag: 'of-another-life' } } };
    const primary = [base, snapshot('new')];
    const found = await recover({ primary, mirror: [base, snapshot('old')], watermark });
    expect(JSON.stringify(found.snapshot?.meta)).toContain(Buffer.from('new').toString('hex'));
  });

  test('metadata: the higher term wins, then a vote over none [DUAL-6]', async () => {
    const term: ModelMutation = { meta: { term: 5n } };
    const vote: ModelMutation = { meta: { term: 5n, votedFor: voteA } };
    const lower: ModelMutation = { meta: { term: 4n, votedFor: voteB } };
    const expected = (await recover({ primary: [base, vote], mirror: [base, vote] })).meta;
    for (const other of [term, lower]) {
      expect((await recover({ primary: [base, other], mirror: [base, vote] })).meta).toEqual(
        expected,
      );
      expect((await recover({ primary: [base, vote], mirror: [base, other] })).meta).toEqual(
        expected,
      );
    }
  });

  const other = entriesOf(20n, 20n, 2n).map((entry) => ({ ...entry, payload: Buffer.from('x') }));
  test.each<[string, ErrorCode, Given]>([
    [
      'the primary below the watermark',
      'pair.below-watermark',
      { primary: [base], mirror: [base], watermark: { index: 21n, term: 2n } },
    ],
    [
      'the mirror below the watermark',
      'pair.below-watermark',
      {
        primary: [base, appendOf(20n, 2, 2n)],
        mirror: [base],
        watermark: { index: 21n, term: 2n },
      },
    ],
    [
      'another entry at the watermark',
      'pair.below-watermark',
      { primary: [base], mirror: [base], watermark: { index: 20n, term: 1n } },
    ],
    [
      'a divergence without a name',
      'pair.diverged',
      { primary: [base, rewritten], mirror: [base] },
    ],
    [
      'a divergence that another name stands for',
      'pair.diverged',
      {
        primary: [base, rewritten],
        mirror: [base],
        watermark: named({ kind: 'replace', index: 11n, term: 3n }),
      },
    ],
    [
      'a divergence below the truncation that is named',
      'pair.diverged',
      {
        primary: [base, { truncate: { lastKept: 15n } }],
        mirror: [base, rewritten, appendOf(14n, 6, 3n)],
        watermark: named({ kind: 'truncate', lastKept: 15n }),
      },
    ],
    [
      'a difference larger than the window beside a truncation that is named',
      'pair.diverged',
      {
        primary: [base, { truncate: { lastKept: 5n } }],
        mirror: [base],
        watermark: named({ kind: 'truncate', lastKept: 18n }),
      },
    ],
    [
      'a difference larger than the window',
      'pair.diverged',
      { primary: [base, appendOf(20n, 11, 2n)], mirror: [base] },
    ],
    [
      'two votes in one term',
      'pair.diverged',
      {
        primary: [base, { meta: { term: 5n, votedFor: voteA } }],
        mirror: [base, { meta: { term: 5n, votedFor: voteB } }],
      },
    ],
    [
      'one identity with two payloads',
      'log.identity-reused',
      {
        primary: [base],
        mirror: [base, { truncate: { lastKept: 19n }, entries: { after: 19n, list: other } }],
      },
    ],
  ])('%s: refused, and neither side is changed [DUAL-5] [DUAL-6]', async (_, code, given) => {
    await rejectsWith(code, () => openGiven(given));
  });
});

describe('a mirror that fails', () => {
  const broken = (files: CrashFileLayer) =>
    files.failAt({ operation: 'sync', code: 'EIO', nth: 1 });

  test('policy detach: left durably before the acknowledgement, then the primary goes on [DUAL-8] [I3]', async () => {
    const told: string[] = [];
    const { instance, engine, mirrorFiles } = await openGiven({
      primary: [base],
      mirror: [base],
      policy: { onFailure: 'detach', limitMs: null },
      detached: async (cause) => {
        told.push(cause.message);
      },
    });
    broken(mirrorFiles);
    await applyToInstance(instance, appendOf(20n, 1, 2n));
    expect(told).toHaveLength(1);
    expect(told[0]).toContain('EIO');
    expect(engine.mirror).toBeNull();
    await applyToInstance(instance, rewritten);
    expect((await dumpState(instance)).lastIndex).toBe(14n);
    await instance.close();
  });

  test('policy detach, but it cannot be made durable: the operation fails [DUAL-8] [I3]', async () => {
    const { instance, mirrorFiles } = await openGiven({
      primary: [base],
      mirror: [base],
      policy: { onFailure: 'detach', limitMs: null },
      detached: () => Promise.reject(new Error('the record cannot be written')),
    });
    broken(mirrorFiles);
    await expect(applyToInstance(instance, appendOf(20n, 1, 2n))).rejects.toThrow('record');
    await rejectsWith('instance.poisoned', () => applyToInstance(instance, appendOf(20n, 1, 2n)));
  });

  test('policy fail: the operation fails, and nothing more is applied [DUAL-8] [LOG-8] [I15]', async () => {
    const { instance, mirrorFiles } = await openGiven({ primary: [base], mirror: [base] });
    broken(mirrorFiles);
    await rejectsWith('pair.mirror-failed', () => applyToInstance(instance, appendOf(20n, 1, 2n)));
    await rejectsWith('instance.poisoned', () => applyToInstance(instance, appendOf(20n, 1, 2n)));
  });
});

import { describe, expect, test } from 'vitest';

import { equivalenceReportSchema } from '../../schemas/equivalence-report.ts';
import { compareInstances, compareWithImage } from '../../storage/equivalence/compare.ts';
import type { Instance } from '../../storage/contracts.ts';
import { batchOf } from '../../storage/entry-batch.ts';
import {
  imageOf,
  piecesOf,
  publishSnapshot,
  sampleEntries,
  sampleInstance,
  type SampleOptions,
} from '../image/sample-state.ts';

const sample: SampleOptions = { entries: 9000, firstIndex: 5n, maxPayloadBytes: 60 };

/** A second instance of the sample whose state was changed by `change`. */
async function altered(change: (instance: Instance) => Promise<void>): Promise<Instance> {
  const instance = await sampleInstance(sample);
  await change(instance);
  return instance;
}

async function replaceEntry(instance: Instance, index: bigint): Promise<void> {
  const list = sampleEntries(sample).filter((entry) => entry.index >= index);
  const [first, ...rest] = list;
  if (first === undefined) return;
  const changed = { ...first, payload: Buffer.from('changed') };
  await instance.apply({
    truncate: { lastKept: index - 1n },
    entries: { after: index - 1n, batches: [batchOf([changed, ...rest])] },
  });
}

interface Case {
  readonly change: (instance: Instance) => Promise<void>;
  readonly found: Readonly<Record<string, unknown>>;
}

const cases: Readonly<Record<string, Case>> = {
  'another payload deep in the log': {
    change: (instance) => replaceEntry(instance, 5000n),
    found: { part: 'log', kind: 'content', index: '5000', b: expect.stringContaining('"changed"') },
  },
  'another first entry': {
    change: (instance) => replaceEntry(instance, 5n),
    found: { part: 'log', kind: 'content', index: '5' },
  },
  'a missing tail': {
    change: (instance) => instance.apply({ truncate: { lastKept: 8000n } }),
    found: { part: 'log', kind: 'freshness', index: '8001', a: '5..9004', b: '5..8000' },
  },
  'a missing prefix': {
    change: (instance) => instance.apply({ truncate: { firstKept: 100n } }),
    found: { part: 'log', kind: 'structural', index: '5', a: '5..9004', b: '100..9004' },
  },
  'an empty log at another place': {
    change: (instance) => instance.apply({ reset: 20_000n }),
    found: { part: 'log', kind: 'structural', b: 'empty at 20000' },
  },
  'a higher term': {
    change: (instance) => instance.apply({ meta: { term: 1001n } }),
    found: { part: 'metadata', kind: 'freshness', path: 'term', a: '1000', b: '1001' },
  },
  'a missing auxiliary key': {
    change: (instance) => instance.apply({ meta: { auxiliary: new Map([['commit', null]]) } }),
    found: { part: 'metadata', kind: 'structural', path: 'auxiliary/commit', b: 'none' },
  },
  'a snapshot file with other bytes': {
    change: (instance) =>
      publishSnapshot(instance, {
        files: { 'data/a.sst': 3000, empty: 0, 'z.bin': 70_000 },
        seed: 9,
      }),
    found: { part: 'snapshot', kind: 'content', path: 'data/a.sst' },
  },
  'a missing snapshot file': {
    change: (instance) => publishSnapshot(instance, { files: { 'data/a.sst': 3000, empty: 0 } }),
    found: { part: 'snapshot', kind: 'structural', path: 'z.bin', b: 'absent' },
  },
  'other peers': {
    change: (instance) => publishSnapshot(instance, { files: {}, peers: ['10.0.0.9:1:0'] }),
    found: { part: 'snapshot', kind: 'content', path: 'peers', b: '10.0.0.9:1:0' },
  },
};

describe.each(Object.entries(cases))('%s is found', (_, { change, found }) => {
  test('between two instances, with its place, kind, values and a remedy [EQ-1] [EQ-4]', async () => {
    const comparison = await compareInstances(await sampleInstance(sample), await altered(change));
    expect(comparison.equal).toBe(false);
    if (comparison.equal) return;
    const report = equivalenceReportSchema.parse(comparison.report);
    expect(report.differences[0]).toMatchObject(found);
    expect(report.differences[0]?.remedy).not.toBe('');
  });

  test('between an instance and an image [EQ-4]', async () => {
    const image = await imageOf(await altered(change));
    const comparison = await compareWithImage(await sampleInstance(sample), piecesOf(image));
    expect(comparison.equal ? null : comparison.report.differences[0]).toMatchObject(found);
  });
});

test('differences of every part are reported together, the log first [EQ-4]', async () => {
  const other = await altered(async (instance) => {
    await replaceEntry(instance, 9000n);
    await instance.apply({ meta: { term: 1001n } });
    await publishSnapshot(instance, { files: {} });
  });
  const comparison = await compareInstances(await sampleInstance(sample), other);
  expect(comparison.equal ? [] : comparison.report.differences.map(({ part }) => part)).toEqual([
    'log',
    'metadata',
    'snapshot',
  ]);
});

test('equal states are equal, with one digest on both sides and progress of all bytes [EQ-3]', async () => {
  const [a, b] = [await sampleInstance(sample), await sampleInstance(sample)];
  const seen: number[] = [];
  const comparison = await compareInstances(a, b, {
    onProgress: ({ bytesDone, phase }) => phase === 'done' && seen.push(bytesDone),
  });
  expect(comparison.equal && comparison.a.root === comparison.b.root).toBe(true);
  expect(seen.length).toBe(1);
  expect(await compareWithImage(a, piecesOf(await imageOf(b)))).toMatchObject({ equal: true });
});

test('a corrupt image is refused rather than reported as a difference [IMG-5]', async () => {
  const instance = await sampleInstance(sample);
  const image = await imageOf(instance);
  const cut = image.subarray(0, image.length - 1);
  await expect(compareWithImage(instance, piecesOf(cut))).rejects.toMatchObject({
    code: 'image.corrupt',
  });
});

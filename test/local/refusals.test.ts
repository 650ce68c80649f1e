import { describe, expect, test } from 'vitest';

import type { ErrorCode } from '../../core/errors.ts';
import { hasCode, QuorumshiftError } from '../../core/errors.ts';
import type { Instance, OpenMode } from '../../storage/contracts.ts';
import { entryAt, type LogEntry } from '../../storage/entry-batch.ts';
import { configurationPeers } from '../../storage/braft-payloads/configuration.ts';
import { localFamily } from '../../storage/families/local/family.ts';
import type { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import {
  closed,
  directoryOf,
  flipped,
  framed,
  inProgress,
  logMeta1,
  pad,
  record,
  records,
} from './braft-files.ts';

const uris = localFamily.expand('local:///data/a');
const zeros = (count: number) => Buffer.alloc(count);
const raftMeta7 = framed('08071212' + Buffer.from('127.0.0.1:8000:0:0').toString('hex'));
const peersA = Buffer.from('0a12' + Buffer.from('127.0.0.1:8001:0:0').toString('hex'), 'hex');
const configuration = record({ type: 3, payload: peersA });

type Content = Readonly<Record<string, Uint8Array>>;

function open(files: CrashFileLayer, mode: OpenMode = 'read-only'): Promise<Instance> {
  return localFamily.open(uris, mode, { files });
}

function codeOf(error: unknown): string {
  return error instanceof QuorumshiftError ? error.code : String(error);
}

async function refusal(opening: Promise<Instance>): Promise<unknown> {
  return opening.then(
    () => 'it opened',
    (error: unknown) => error,
  );
}

async function readAll(instance: Instance): Promise<LogEntry[]> {
  const { firstIndex, lastIndex } = instance.state();
  const entries: LogEntry[] = [];
  for await (const batch of instance.read(firstIndex, lastIndex)) {
    for (let i = 0; i < batch.count; i += 1) entries.push(entryAt(batch, i));
  }
  return entries;
}

/** What opening and reading in one go, with the checks left to the reading, comes to. */
async function readAtOnce(files: CrashFileLayer): Promise<LogEntry[]> {
  const instance = await localFamily.open(uris, 'read-only', { files, readsAll: true });
  try {
    return await readAll(instance);
  } finally {
    await instance.close();
  }
}

async function errorOf(attempt: Promise<unknown>): Promise<unknown> {
  return attempt.then(
    () => 'it was read',
    (error: unknown) => error,
  );
}

/** Opens read-only: braft's range; nothing in the directory changes. */
async function opensAs(content: Content, range: [number, number]): Promise<Instance> {
  const files = await directoryOf(content);
  const before = files.dump();
  const { operations } = files;
  const instance = await open(files);
  const { firstIndex, lastIndex } = instance.state();
  expect([firstIndex, lastIndex]).toEqual(range.map(BigInt));
  expect(files.dump()).toBe(before);
  expect(files.operations).toBe(operations);
  return instance;
}

const fenceText =
  '{"quorumshift":"fence","replica":"c/m","migration":"m1","parked":"/b","holds":"directory"}\n';

async function refuses(content: Content, code: ErrorCode = 'data.corrupt'): Promise<void> {
  const files = await directoryOf(content);
  const before = files.dump();
  const error = await refusal(open(files));
  expect(codeOf(error)).toBe(code);
  expect(await errorOf(readAtOnce(files)), 'with checks left to the reading').toEqual(error);
  expect(files.dump()).toBe(before);
}

async function writerRefuses(content: Content): Promise<void> {
  const files = await directoryOf(content);
  const before = files.dump();
  expect(hasCode(await refusal(open(files, 'read-write')), 'data.corrupt')).toBe(true);
  expect(files.dump()).toBe(before);
}

describe('log_meta [FAM-9]', () => {
  test('row 1: absent beside segments: an empty log with a warning; a writer refuses', async () => {
    const content = { [closed(1, 2)]: records(2) };
    const instance = await opensAs(content, [1, 0]);
    expect(instance.warnings.join()).toContain('log_meta is absent');
    await writerRefuses(content);
  });

  test.each([
    ['empty', zeros(0)],
    ['of 3 bytes', zeros(3)],
    ['of negative length', Buffer.from('ffffffff0801', 'hex')],
    ['longer by its length than the file', Buffer.from('000000030801', 'hex')],
  ])('row 2: %s: refused', async (_, bytes) => {
    await refuses({ 'log/log_meta': bytes, [closed(1, 2)]: records(2) });
  });

  test('row 3: unparsable or without its field: refused with closed segments, else begins at 0', async () => {
    for (const hex of ['ff', '1001', '']) {
      await refuses({ 'log/log_meta': framed(hex), [closed(1, 2)]: records(2) });
      await opensAs({ 'log/log_meta': framed(hex) }, [0, -1]);
      await opensAs({ 'log/log_meta': framed(hex), [inProgress(1)]: records(2) }, [0, 2]);
    }
    await writerRefuses({ 'log/log_meta': framed('') });
  });

  test('row 4: bytes behind the message: accepted', async () => {
    const bytes = Buffer.concat([framed('0802'), Buffer.from('rest')]);
    await opensAs({ 'log/log_meta': bytes, [closed(1, 3)]: records(3) }, [2, 3]);
  });

  test('row 5: first index 0 or below with a closed segment at 1: refused', async () => {
    await refuses({ 'log/log_meta': framed('0800'), [closed(1, 2)]: records(2) });
    const minusOne = framed('08ffffffffffffffffff01');
    await refuses({ 'log/log_meta': minusOne, [closed(1, 2)]: records(2) });
  });
});

describe('names of segments [FAM-9]', () => {
  test.each<[string, Content]>([
    ['a hole between them', { [closed(1, 2)]: records(2), [closed(4, 5)]: records(2) }],
    ['an overlap', { [closed(1, 2)]: records(2), [closed(2, 3)]: records(2) }],
    ['the first above the log', { [closed(2, 3)]: records(2) }],
    ['an end before its begin', { [closed(1, 0)]: zeros(0) }],
    ['two open ones', { [inProgress(1)]: records(2), [inProgress(3)]: records(2) }],
    ['an unpadded name alone', { 'log/log_1_2': records(2) }],
    ['a name with a suffix alone', { [`${closed(1, 2)}.bak`]: records(2) }],
  ])('rows 6, 7, 20: %s: refused', async (_, segments) => {
    await refuses({ ...logMeta1, ...segments });
  });

  test('row 8: an open segment after a hole: accepted as braft does, unreadable, not for writing', async () => {
    const content = { ...logMeta1, [closed(1, 2)]: records(2), [inProgress(5)]: records(2) };
    const instance = await opensAs(content, [1, 6]);
    expect(instance.warnings.join()).toContain('begins at 5');
    expect(hasCode(await readAll(instance).catch((e: unknown) => e), 'data.corrupt')).toBe(true);
    await writerRefuses(content);
  });

  test('row 8: an open segment over closed ones: its entries count', async () => {
    const content = {
      ...logMeta1,
      [closed(1, 4)]: records(4, { term: 1 }),
      [inProgress(3)]: records(3, { term: 2 }),
    };
    const terms = (await readAll(await opensAs(content, [1, 5]))).map((entry) => entry.term);
    expect(terms).toEqual([1n, 1n, 2n, 2n, 2n]);
  });

  test('rows 20, 21: names beside the canonical ones, and unknown ones: ignored, and left', async () => {
    const content = {
      ...logMeta1,
      [closed(1, 2)]: records(2),
      'log/log_1_2': records(1),
      [`${closed(1, 2)}.bak`]: zeros(5),
      'log/LOCK': zeros(0),
      'log/x.tmp': zeros(3),
    };
    await opensAs(content, [1, 2]);
  });

  test('row 22: segments below the first index: not read; a writer removes them', async () => {
    const content = {
      'log/log_meta': framed('0805'),
      [closed(1, 2)]: zeros(7),
      [closed(3, 4)]: records(2),
      [closed(5, 6)]: records(2),
      'log/y.tmp': zeros(3),
    };
    await opensAs(content, [5, 6]);
    const files = await directoryOf(content);
    await (await open(files, 'read-write')).close();
    expect((await files.list('/data/a/log')).toSorted()).toEqual([
      closed(5, 6).slice(4),
      'log_meta',
    ]);
  });

  test('only an open segment that ends below the first index: an empty log', async () => {
    await opensAs({ 'log/log_meta': framed('0805'), [inProgress(1)]: records(4) }, [5, 4]);
  });
});

describe('records of a closed segment [FAM-9]', () => {
  test.each<[string, Buffer]>([
    ['fewer than its name says', records(2)],
    ['more', records(4)],
    ['24 bytes of garbage behind them', Buffer.concat([records(3), Buffer.alloc(24, 7)])],
    ['a damaged header', flipped(records(3), 31)],
    ['an unknown checksum kind', record({ kind: 2 })],
    ['a damaged CONFIGURATION', Buffer.concat([records(2), flipped(configuration, -1)])],
    [
      'a CONFIGURATION that is no message',
      Buffer.concat([records(2), record({ type: 3, payload: 'no protobuf' })]),
    ],
  ])('rows 9, 12, 15: %s: refused', async (_, segment) => {
    await refuses({ ...logMeta1, [closed(1, 3)]: segment });
  });

  test.each<[string, Buffer]>([
    ['a few stray bytes', Buffer.alloc(23, 7)],
    ['a header without its body', record().subarray(0, 28)],
  ])('row 10: %s behind them: accepted; a writer cuts them off', async (_, stray) => {
    const content = { ...logMeta1, [closed(1, 3)]: Buffer.concat([records(3), stray]) };
    const entries = await readAll(await opensAs(content, [1, 3]));
    expect(entries).toHaveLength(3);
    const files = await directoryOf(content);
    expect(await readAtOnce(files)).toEqual(entries);
    await (await open(files, 'read-write')).close();
    expect((await files.stat(`/data/a/${closed(1, 3)}`))?.bytes).toBe(records(3).length);
  });
});

describe('checks that are left to the reading [FAM-9]', () => {
  const three = { ...logMeta1, [closed(1, 2)]: records(2), [closed(3, 5)]: records(3) };
  const openAll = async (content: Content) =>
    localFamily.open(uris, 'read-only', { files: await directoryOf(content), readsAll: true });

  test('two reads at once from the middle of a segment: both get what a walk finds', async () => {
    const instance = await openAll(three);
    const from4 = async () => {
      const found: bigint[] = [];
      for await (const batch of instance.read(4n, 5n)) {
        for (let i = 0; i < batch.count; i += 1) found.push(entryAt(batch, i).index);
      }
      return found;
    };
    expect(await Promise.all([from4(), from4()])).toEqual([
      [4n, 5n],
      [4n, 5n],
    ]);
  });

  test('damage in the second segment: the first is read, then refused by file and byte', async () => {
    const damaged = { ...three, [closed(3, 5)]: flipped(records(3), 31) };
    const error = await errorOf(openAll(damaged).then(readAll));
    expect(String(error)).toContain(closed(3, 5));
    expect(codeOf(error)).toBe('data.corrupt');
  });
});

describe('records of the open segment [FAM-9]', () => {
  const opened = (bytes: Buffer) => ({ ...logMeta1, [inProgress(1)]: bytes });

  test('row 11: a torn header or body: cut off, with a warning', async () => {
    for (const bytes of [1, 23, 24, 30]) {
      const torn = Buffer.concat([records(2), record().subarray(0, bytes)]);
      const instance = await opensAs(opened(torn), [1, 2]);
      expect(instance.warnings).toHaveLength(1);
      expect(await readAll(instance)).toHaveLength(2);
    }
    await opensAs(opened(Buffer.concat([records(2), zeros(23)])), [1, 2]);
  });

  test.each<[string, Buffer]>([
    ['a damaged header', flipped(records(3), 33)],
    ['an unknown checksum kind', record({ kind: 2 })],
    ['24 zeros', Buffer.concat([records(1), zeros(24)])],
    ['a CONFIGURATION that is no message', record({ type: 3, payload: 'no protobuf' })],
  ])('rows 12, 15: %s: refused', async (_, bytes) => {
    await refuses(opened(bytes));
  });

  test('row 12: zeros to the end: a writer takes them for never synced, warns and cuts [LOG-3]', async () => {
    const files = await directoryOf(opened(Buffer.concat([records(2), zeros(5000)])));
    const instance = await open(files, 'read-write');
    expect(instance.state().lastIndex).toBe(2n);
    expect(instance.warnings.join()).toContain('zeros');
    await instance.close();
    expect((await files.stat(`/data/a/${inProgress(1)}`))?.bytes).toBe(records(2).length);
    const behind = Buffer.concat([records(2), zeros(100), records(1)]);
    await writerRefuses(opened(behind));
  });

  test('row 13: a damaged DATA payload: it opens; reading names file and byte', async () => {
    for (const count of [1, 9]) {
      const damaged = Buffer.concat([records(count), flipped(record(), -1)]);
      const instance = await opensAs(opened(damaged), [1, count + 1]);
      const error = await readAll(instance).catch((e: unknown) => e);
      expect(hasCode(error, 'data.corrupt')).toBe(true);
      expect(String(error)).toContain(`${inProgress(1)}" at byte ${records(count).length}`);
    }
  });

  test('row 14: a damaged CONFIGURATION: it and all behind it are cut off', async () => {
    const bytes = Buffer.concat([records(2), flipped(configuration, -1), records(5)]);
    const instance = await opensAs(opened(bytes), [1, 2]);
    expect(instance.warnings.join()).toContain('CONFIGURATION');
  });

  test('rows 16, 17: peers that are none, or no peers at all: accepted', async () => {
    const invalid = Buffer.concat([Buffer.from([0x0a, 4]), Buffer.from('host')]);
    const bytes = Buffer.concat([
      record({ type: 3, payload: invalid }),
      record({ type: 3, payload: '' }),
    ]);
    const payloads = (await readAll(await opensAs(opened(bytes), [1, 2]))).map((e) => e.payload);
    expect(payloads.map((payload) => configurationPeers(payload))).toEqual([
      { peers: ['0.0.0.0:0:0:0'], oldPeers: [] },
      { peers: [], oldPeers: [] },
    ]);
  });

  test('row 18: a NO_OP with a payload: the payload is dropped', async () => {
    const bytes = Buffer.concat([records(2), record({ type: 1, payload: 'lost' }), records(2)]);
    const lengths = (await readAll(await opensAs(opened(bytes), [1, 5]))).map(
      (entry) => entry.payload.length,
    );
    expect(lengths).toEqual([7, 7, 0, 7, 7]);
  });

  test('row 19: unknown types, terms that fall, reserved bytes, both checksums: read as they are', async () => {
    const bytes = Buffer.concat([
      record({ type: 0, term: 9 }),
      record({ type: 7, term: -3, kind: 0 }),
      record({ reserved: 77, term: 0 }),
    ]);
    const entries = await readAll(await opensAs(opened(bytes), [1, 3]));
    expect(entries.map(({ type, term }) => [type, term])).toEqual([
      [0, 9n],
      [7, -3n],
      [2, 0n],
    ]);
  });
});

describe('raft_meta [FAM-9]', () => {
  test.each([
    ['entries', { ...logMeta1, [closed(1, 2)]: records(2) }, true],
    ['nothing any more, its log being compacted', { 'log/log_meta': framed('0805') }, true],
    ['nothing yet', logMeta1, false],
  ])(
    'absent beside a log of %s: a hazard of the start if it was used',
    async (_, content, used) => {
      const instance = await open(await directoryOf(content));
      expect(instance.hazards.join().includes('has forgotten its vote')).toBe(used);
      const withMeta = await open(
        await directoryOf({ ...content, 'raft_meta/raft_meta': raftMeta7 }),
      );
      expect(withMeta.hazards).toEqual([]);
    },
  );

  const withMeta = (bytes: Buffer) => ({ ...logMeta1, 'raft_meta/raft_meta': bytes });
  const metaOf = async (content: Content) => (await opensAs(content, [1, 0])).state().meta;

  test('row 23: absent: term 1, no vote', async () => {
    expect(await metaOf(logMeta1)).toEqual({ term: 1n, votedFor: null, auxiliary: new Map() });
  });

  test.each<[string, Buffer]>([
    ['short', raftMeta7.subarray(0, 10)],
    ['of negative length', Buffer.alloc(8, 0xff)],
    ['garbage', framed('ffffffff')],
    ['without a vote', framed('0807')],
    ['with a vote that is no peer', framed('08071204686f7374')],
    ['with an empty vote', framed('08071200')],
  ])('row 24: %s: refused', async (_, bytes) => {
    await refuses(withMeta(bytes));
  });

  test('row 25: a vote without a term: term 0; what follows a fault is not seen', async () => {
    const vote = '1212' + Buffer.from('127.0.0.1:8000:0:0').toString('hex');
    expect(await metaOf(withMeta(framed(vote)))).toMatchObject({ term: 0n });
    const meta = await metaOf(withMeta(framed(`0807${vote}ff`)));
    expect([meta.term, String(meta.votedFor)]).toEqual([7n, '127.0.0.1:8000:0:0']);
  });

  test('nobody in three fields or in four: no vote [EQ-1]', async () => {
    for (const text of ['0.0.0.0:0:0', '0.0.0.0:0:0:0']) {
      const length = Buffer.from([text.length]).toString('hex');
      const hex = `080712${length}${Buffer.from(text).toString('hex')}`;
      expect((await metaOf(withMeta(framed(hex)))).votedFor).toBeNull();
    }
  });
});

describe('snapshots [FAM-9]', () => {
  const tableName = '__raft_snapshot_meta';
  const at = (index: number, name: string) => `snapshot/snapshot_${pad(index)}/${name}`;
  const table = framed('0a04080a100312080a04646174611200');

  const snapshotOf = async (content: Content) =>
    (await opensAs({ ...logMeta1, ...content }, [1, 0])).snapshots.latest();

  test('the largest number counts; listed files are read, others are not its', async () => {
    const reader = await snapshotOf({
      [at(9, tableName)]: zeros(2),
      [at(10, tableName)]: table,
      [at(10, 'data')]: Buffer.from('x'),
      [at(10, 'unlisted')]: Buffer.from('y'),
      'snapshot/temp/half': Buffer.from('z'),
    });
    expect(reader?.meta.lastIncludedIndex).toBe(10n);
    expect(reader?.files).toEqual([{ path: 'data', bytes: 1, userMeta: Buffer.alloc(0) }]);
  });

  test.each<[string, Content]>([
    ['no table', { [at(10, 'data')]: zeros(1) }],
    ['a short table', { [at(10, tableName)]: table.subarray(0, 9) }],
    ['only snapshot 0', { [at(0, tableName)]: table }],
    [
      'a sibling with a suffix and a larger number',
      { [at(10, tableName)]: table, [`snapshot/snapshot_${pad(99)}.bak/x`]: zeros(1) },
    ],
  ])('rows 26, 28: %s: no snapshot', async (_, content) => {
    expect(await snapshotOf(content)).toBeNull();
  });

  test('a sibling that makes braft delete the good snapshot: a writer refuses, and it stays', async () => {
    await writerRefuses({
      ...logMeta1,
      [at(10, tableName)]: table,
      [`snapshot/snapshot_${pad(99)}.bak/x`]: zeros(1),
    });
  });

  test.each([
    ['unparsable', 'ff'],
    ['without metadata', '12080a04646174611200'],
    ['with incomplete metadata', '0a02080a'],
  ])('row 27: a table %s: refused', async (_, hex) => {
    await refuses({ ...logMeta1, [at(10, tableName)]: framed(hex) });
  });

  test('a listed file that is absent, or outside the tree: refused when the snapshot is opened', async () => {
    const missing = await snapshotOf({ [at(10, tableName)]: table }).catch((e: unknown) => e);
    expect(hasCode(missing, 'snapshot.file-missing')).toBe(true);
    const outside = framed('0a04080a100312090a072e2e2f64617461');
    const escaping = await snapshotOf({
      [at(10, tableName)]: outside,
      'snapshot/data': zeros(1),
    }).catch((e: unknown) => e);
    expect(hasCode(escaping, 'snapshot.invalid-path')).toBe(true);
  });
});

describe('places that are files [CUT-7]', () => {
  test.each(['log', 'raft_meta', 'snapshot'])('row 29: %s is a file: refused', async (name) => {
    const content = name === 'log' ? {} : logMeta1;
    await refuses({ ...content, [name]: Buffer.from('something else') });
    // Of a fence it is said whose it is, and where the data lies.
    await refuses({ ...content, [name]: Buffer.from(fenceText) }, 'instance.fenced');
  });

  test('a fence counts as nothing there, any other file as something', async () => {
    const occupied = async (text: string) =>
      localFamily.occupied(uris, { files: await directoryOf({ log: Buffer.from(text) }) });
    expect(await occupied(fenceText)).toBeNull();
    expect(await occupied('anything else')).toContain('is a file');
  });
});

import { describe, expect, test } from 'vitest';
import { hasCode } from '../../core/errors.ts';
import { entryAt } from '../../storage/entry-batch.ts';
import { configurationPeers } from '../../storage/braft-payloads/configuration.ts';
import { localFamily } from '../../storage/families/local/family.ts';
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
import {
  uris,
  zeros,
  configuration,
  type Content,
  open,
  codeOf,
  readAll,
  readAtOnce,
  errorOf,
  opensAs,
  refuses,
  writerRefuses,
} from './opening.ts';

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
    ['a copy of the open one', { [inProgress(1)]: records(2), [`${inProgress(1)}.bak`]: zeros(0) }],
    ['an unpadded name alone', { 'log/log_1_2': records(2) }],
    [
      'a suffixed one alone, under an open one that overlaps it',
      { [`${closed(1, 2)}x`]: records(2), [inProgress(1)]: records(3) },
    ],
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

  test('indexes are read from names as scanf reads them', async () => {
    const below = 'log/log_inprogress_-0000000000000000003';
    await opensAs({ 'log/log_meta': framed('0805'), [below]: records(2) }, [5, 4]);
    // 20 characters count, a sign among them; `\s` has blanks that C has not.
    const others = [`log/log_+${'0'.repeat(19)}1_2`, 'log/log_\u00a01_2', `log/log_${pad(1)}0_2`];
    await opensAs({ ...logMeta1, ...Object.fromEntries(others.map((n) => [n, zeros(1)])) }, [1, 0]);
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

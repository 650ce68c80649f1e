import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { describe, expect, test } from 'vitest';
import { hasCode } from '../../core/errors.ts';
import { localFamily } from '../../storage/families/local/family.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { closed, directoryOf, framed, inProgress, logMeta1, pad, records } from './braft-files.ts';
import {
  codeOf,
  errorOf,
  fenceText,
  open,
  opensAs,
  raftMeta7,
  refuses,
  type Content,
  uris,
  writerRefuses,
  zeros,
} from './opening.ts';

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

  test('refused when opened for writing: not a byte of a torn log is repaired', async () => {
    const log = { [inProgress(1)]: records(2).subarray(0, 40), 'log/x.tmp': zeros(1) };
    await writerRefuses({ ...log, ...withMeta(framed('0807')) });
    await writerRefuses({ ...log, ...logMeta1, 'raft_meta/quorumshift_meta': zeros(3) });
  });

  test('row 25: a vote without a term: term 0; what follows a fault is not seen', async () => {
    const vote = '1212' + Buffer.from('127.0.0.1:8000:0:0').toString('hex');
    expect(await metaOf(withMeta(framed(vote)))).toMatchObject({ term: 0n });
    const meta = await metaOf(withMeta(framed(`0807${vote}ff`)));
    expect([meta.term, String(meta.votedFor)]).toEqual([7n, '127.0.0.1:8000:0:0']);
  });

  test.each(['log/log_meta', 'raft_meta/raft_meta'])('%s is a directory: refused', async (path) => {
    const content = path.startsWith('log') ? {} : logMeta1;
    await refuses({ ...content, [`${path}/x`]: zeros(1) });
  });

  test('nobody in however many fields: no vote [EQ-1]', async () => {
    for (const text of ['0.0.0.0:0', '0.0.0.0:0:0', '0.0.0.0:0:0:0', '0.0.0.0:00:0:1']) {
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
    ['a table that is a directory', { [`${at(10, tableName)}/x`]: zeros(1) }],
    ['a number beyond int64', { [`snapshot/snapshot_${'9'.repeat(20)}/${tableName}`]: table }],
    [
      'a sibling with a suffix and a larger number',
      { [at(10, tableName)]: table, [`snapshot/snapshot_${pad(99)}.bak/x`]: zeros(1) },
    ],
  ])('rows 26, 28: %s: no snapshot', async (_, content) => {
    expect(await snapshotOf(content)).toBeNull();
  });

  test('a copy of the current one under a name with a suffix: a writer leaves it, as braft does', async () => {
    const older = `snapshot/snapshot_${pad(9)}`;
    const files = await directoryOf({
      ...logMeta1,
      [at(10, tableName)]: table,
      [`snapshot/snapshot_${pad(10)}.bak/data`]: zeros(1),
      [`${older}.bak/data`]: zeros(1),
      [`${older}/data`]: zeros(1),
    });
    await (await open(files, 'read-write')).close();
    expect((await files.list('/data/a/snapshot')).toSorted()).toEqual([
      `snapshot_${pad(9)}.bak`,
      `snapshot_${pad(10)}`,
      `snapshot_${pad(10)}.bak`,
    ]);
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
  ])(
    'row 27: a table %s: the storage opens, its snapshot is a hazard, and a writer refuses [FAM-10]',
    async (_, hex) => {
      const content = { ...logMeta1, [at(10, tableName)]: framed(hex) };
      const instance = await opensAs(content, [1, 0]);
      expect(instance.hazards).toContainEqual(
        expect.stringMatching(/__raft_snapshot_meta.*a node cannot load its snapshot/),
      );
      expect(codeOf(await errorOf(instance.snapshots.latest()))).toBe('data.corrupt');
      await writerRefuses(content);
    },
  );

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

describe('names that braft lists as bytes, and links [FAM-9] [FAM-10]', () => {
  const tableOf = (...files: string[]) => framed(`0a0408051001${files.join('')}`);
  const path = `snapshot/snapshot_${pad(5)}`;

  test('names that are no UTF-8: each refused as what it is', async () => {
    const instance = await open(
      await directoryOf({
        ...logMeta1,
        [`${path}/__raft_snapshot_meta`]: tableOf('12040a02fffe', '12040a02fffd'),
      }),
    );
    const error = await instance.snapshots.latest().catch((e: unknown) => e);
    expect(hasCode(error, 'snapshot.invalid-path')).toBe(true);
    expect(String(error)).toContain('not UTF-8');
  });

  test('a listed file that is a symbolic link: what it leads to; one to nothing: missing', async () => {
    const root = await mkdtemp(join(tmpdir(), 'quorumshift-links-'));
    const write = async (name: string, bytes: Uint8Array) => {
      await mkdir(dirname(join(root, name)), { recursive: true });
      await writeFile(join(root, name), bytes);
    };
    await write('log/log_meta', logMeta1['log/log_meta']);
    await write(`${path}/__raft_snapshot_meta`, tableOf('12030a0161'));
    await symlink('../../elsewhere', join(root, path, 'a'));
    const at = localFamily.expand(`local://${root}`);
    const openLatest = async () => {
      const instance = await localFamily.open(at, 'read-only', { files: nodeFileLayer });
      try {
        return await instance.snapshots.latest();
      } finally {
        await instance.close();
      }
    };
    const missing = await openLatest().catch((e: unknown) => e);
    expect(hasCode(missing, 'snapshot.file-missing')).toBe(true);
    await write('elsewhere', Buffer.from('four'));
    expect((await openLatest())?.files).toEqual([{ path: 'a', bytes: 4, userMeta: null }]);
    await rm(root, { recursive: true });
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

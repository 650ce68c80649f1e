import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ClassicLevel } from 'classic-level';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { hasCode } from '../../core/errors.ts';
import type { InstanceUris, MetaUpdate } from '../../storage/contracts.ts';
import { localFamily } from '../../storage/families/local/family.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { appendOf, voteA, voteB } from '../../storage/testing/conformance-env.ts';
import { applyToInstance } from '../../storage/testing/state-model.ts';
import { directoryOf, framed, logMeta1, placeFile } from './braft-files.ts';
import { fixtureUris, treeFingerprint, unpackFixture } from './braft-fixtures.ts';

const uris = localFamily.expand('local:///data/a');
const stable = (term: number, vote: string) =>
  framed(
    `08${term.toString(16).padStart(2, '0')}12${vote.length.toString(16).padStart(2, '0')}${Buffer.from(vote).toString('hex')}`,
  );
const nobody = '0.0.0.0:0:0:0';
const auxiliary = new Map([['commit', Buffer.from([1, 2])]]);

/** Metadata saved by us, raft_meta then as another left it; what is read then. */
async function afterBraft(saved: MetaUpdate, raftMeta: Buffer) {
  const files = await directoryOf(logMeta1);
  const instance = await localFamily.open(uris, 'read-write', { files });
  await instance.apply({ meta: saved });
  await instance.close();
  await placeFile(files, '/data/a/raft_meta/raft_meta', raftMeta);
  const reopened = await localFamily.open(uris, 'read-write', { files });
  const { meta } = reopened.state();
  await reopened.close();
  return meta;
}

describe('auxiliary beside raft_meta', () => {
  test('none given: no file of ours is made [FAM-9]', async () => {
    const files = await directoryOf(logMeta1);
    const instance = await localFamily.open(uris, 'read-write', { files });
    await instance.apply({ meta: { term: 7n, votedFor: voteA } });
    await instance.close();
    expect(await files.list('/data/a/raft_meta')).toEqual(['raft_meta']);
  });

  test('braft has run since: its higher term, or its vote, wins [FAM-9] [LOG-6]', async () => {
    const saved = { term: 5n, auxiliary };
    expect(await afterBraft(saved, stable(6, nobody))).toEqual({
      term: 6n,
      votedFor: null,
      auxiliary,
    });
    const voted = await afterBraft(saved, stable(5, '127.0.0.1:1:0:0'));
    expect([voted.term, String(voted.votedFor)]).toEqual([5n, '127.0.0.1:1:0:0']);
  });

  test('raft_meta is older, or gone: ours wins [FAM-9]', async () => {
    const saved = { term: 5n, votedFor: voteA, auxiliary };
    for (const older of [stable(4, '127.0.0.1:1:0:0'), stable(5, nobody)]) {
      expect(await afterBraft(saved, older)).toEqual({ term: 5n, votedFor: voteA, auxiliary });
    }
  });

  test('the same vote in more fields, as a newer braft writes it: no other vote [FAM-9]', async () => {
    const saved = { term: 5n, votedFor: Buffer.from('127.0.0.1:1:0'), auxiliary };
    const meta = await afterBraft(saved, stable(5, '127.0.0.1:1:0:0'));
    expect([meta.term, String(meta.votedFor)]).toEqual([5n, '127.0.0.1:1:0']);
  });

  test('two votes in one term: refused [LOG-6]', async () => {
    const opening = afterBraft(
      { term: 5n, votedFor: voteA, auxiliary },
      stable(5, '127.0.0.1:1:0:0'),
    );
    const error = await opening.catch((e: unknown) => e);
    expect(hasCode(error, 'meta.conflict')).toBe(true);
  });

  test('a vote that is no peer: refused, and the handle goes on [FAM-10] [LOG-8]', async () => {
    const files = await directoryOf(logMeta1);
    const instance = await localFamily.open(uris, 'read-write', { files });
    const refused = instance.apply({ meta: { term: 2n, votedFor: Buffer.from('server-1') } });
    expect(hasCode(await refused.catch((e: unknown) => e), 'limit.exceeded')).toBe(true);
    await instance.apply({ meta: { term: 2n } });
    await instance.close();
  });
});

describe('metadata in a LevelDB shared by groups', () => {
  let root = '';
  let places = 0;

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'quorumshift-merged-'));
  });

  afterAll(async () => {
    await rm(root, { recursive: true, force: true });
  });

  const context = { files: nodeFileLayer };
  const groupUris = (base: string, groupId: string): InstanceUris => ({
    log: `local://${base}/${groupId}/log`,
    meta: `local-merged://${base}/meta`,
    snapshot: `local://${base}/${groupId}/snapshot`,
    groupId,
  });
  const values = async (path: string) => {
    const database = new ClassicLevel(path, { keyEncoding: 'utf8', valueEncoding: 'hex' });
    const all = Object.fromEntries(await database.iterator().all());
    await database.close();
    return all;
  };

  test('two groups of one process write each its own key, with auxiliary [FAM-9]', async () => {
    const base = join(root, String((places += 1)));
    const [a, b] = ['a_0', 'b_0'].map((group) => groupUris(base, group));
    const instances = await Promise.all(
      [a, b].flatMap((at) => (at ? [localFamily.open(at, 'create', context)] : [])),
    );
    for (const [i, instance] of instances.entries()) {
      const meta = { term: BigInt(i + 3), votedFor: i === 0 ? voteA : voteB, auxiliary };
      await applyToInstance(instance, { ...appendOf(0n, 3), meta });
    }
    const states = instances.map((instance) => instance.state());
    for (const instance of instances) await instance.close();
    for (const [i, at] of [a, b].entries()) {
      for (const mode of ['read-only', 'read-write'] as const) {
        if (at === undefined) continue;
        const reopened = await localFamily.open(at, mode, context);
        expect(reopened.state()).toEqual(states[i]);
        await reopened.close();
      }
    }
    expect(Object.keys(await values(`${base}/meta`))).toEqual(['a_0', 'b_0']);
    expect(localFamily.places(groupUris(base, 'a_0')).find((p) => p.shared)?.path).toBe(
      `${base}/meta`,
    );
  });

  test('staged: the key is written when it is published, not before [BOOT-4]', async () => {
    const base = join(root, String((places += 1)));
    const other = await localFamily.open(groupUris(base, 'other_0'), 'create', context);
    await other.apply({ meta: { term: 9n } });
    await other.close();
    const at = groupUris(base, 'new_0');
    const first = await localFamily.stage(at, context);
    await first.setMeta({ term: 4n, votedFor: voteA, auxiliary });
    await first.checkpoint({ firstIndex: 1n, lastIndex: 0n, note: {} });
    await first.close();
    expect(Object.keys(await values(`${base}/meta`))).toEqual(['other_0']);
    await (await localFamily.stage(at, context)).publish();
    const instance = await localFamily.open(at, 'read-only', context);
    expect(instance.state().meta).toEqual({ term: 4n, votedFor: voteA, auxiliary });
    await instance.close();
    expect(Object.keys(await values(`${base}/meta`))).toEqual(['new_0', 'other_0']);
    expect(await readdir(`${base}/new_0/log`)).not.toContain('quorumshift-staged-meta');
    const again = await localFamily.stage(at, context).catch((e: unknown) => e);
    expect(hasCode(again, 'instance.not-empty')).toBe(true);
  });

  test("braft's database is written on, and another key of it stays [FAM-9]", async () => {
    const base = join(root, String((places += 1)));
    unpackFixture('merged-1', base);
    const before = treeFingerprint(base);
    const at = fixtureUris('merged-1', base);
    const absent = await localFamily.open({ ...at, groupId: 'nobody_0' }, 'read-only', context);
    expect(absent.state().meta.term).toBe(1n);
    await absent.close();
    expect(treeFingerprint(base)).toEqual(before);
    const instance = await localFamily.open(at, 'read-write', context);
    await instance.apply({ meta: { term: 8n } });
    await instance.close();
    expect(await values(`${base}/merged_meta`)).toEqual({
      group_0: stable(8, nobody).subarray(4).toString('hex'),
    });
  });

  test('in both places: the newer is read, two votes of a term are refused, writing is [FAM-9]', async () => {
    const base = join(root, String((places += 1)));
    unpackFixture('mixed-meta-1', base);
    const at = fixtureUris('mixed-meta-1', base);
    const read = async (raftMeta: Buffer) => {
      await placeFile(nodeFileLayer, `${base}/raft_meta/raft_meta`, raftMeta);
      const instance = await localFamily.open(at, 'read-only', context);
      const { meta } = instance.state();
      await instance.close();
      return meta;
    };
    expect((await read(stable(8, nobody))).term).toBe(8n);
    expect((await read(stable(6, '127.0.0.1:1:0:0'))).term).toBe(7n);
    expect(String((await read(stable(7, nobody))).votedFor)).toBe('171.141.234.246:3060:47:0');
    const spelled = await read(stable(7, '171.141.234.246:3060:47'));
    expect(String(spelled.votedFor)).toBe('171.141.234.246:3060:47');
    await rm(`${base}/merged_meta`, { recursive: true });
    expect((await read(stable(0, nobody))).term, 'an absent one begins at term 1').toBe(1n);
    unpackFixture('mixed-meta-1', base);
    const conflict = await read(stable(7, '127.0.0.1:1:0:0')).catch((e: unknown) => e);
    expect(hasCode(conflict, 'meta.conflict')).toBe(true);
    const writing = await localFamily.open(at, 'read-write', context).catch((e: unknown) => e);
    expect(hasCode(writing, 'uri.invalid')).toBe(true);
  });
});

import { deepStrictEqual, match, ok, rejects, strictEqual } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, test } from 'vitest';

import type { Family, InstanceUris } from '../../storage/contracts.ts';
import { batchOf, EntryType } from '../../storage/entry-batch.ts';
import { rocksdbFamily } from '../../storage/families/rocksdb/family.ts';
import { sqliteFamily } from '../../storage/families/sqlite/family.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { stagingMarkerName } from '../../storage/staging-marker.ts';
import { entriesOf, rejectsWith, snapshotOf } from '../../storage/testing/conformance-env.ts';
import { dumpSnapshot, dumpState } from '../../storage/testing/state-dump.ts';
import { applyToInstance, dumpModel, emptyModel } from '../../storage/testing/state-model.ts';
import { seededSteps } from './killed-writer.ts';

const context = { files: nodeFileLayer };
let root = '';
let places = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'quorumshift-engines-'));
});

afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

function freshPlace(family: Family): { path: string; uris: InstanceUris } {
  const path = join(root, `${family.name}-${++places}`);
  return { path, uris: family.expand(`${family.name}://${path}`) };
}

/**
 * Starts the writer, kills it after `acknowledged` mutations, and returns how many it had told of.
 */
async function killWriterAfter(
  uri: string,
  options: { seed: number; acknowledged: number },
): Promise<number> {
  const script = fileURLToPath(new URL('./killed-writer.js', import.meta.url));
  const writer = spawn(process.execPath, [script, uri, String(options.seed)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited: Promise<unknown[]> = once(writer, 'exit');
  let told = 0;
  for await (const line of createInterface({ input: writer.stdout })) {
    told = Number(line);
    if (told === options.acknowledged) writer.kill('SIGKILL');
  }
  deepStrictEqual(await exited, [null, 'SIGKILL'], `seed ${options.seed}`);
  return told;
}

describe.each([rocksdbFamily, sqliteFamily])('family $name', (family) => {
  test('its writer killed at seeded moments: all that was acknowledged is there, and at most the next mutation, whole [LOG-1] [BOOT-4]', async () => {
    for (let round = 0; round < 5; round += 1) {
      const seed = Math.floor(Math.random() * 2 ** 31);
      const { uris } = freshPlace(family);
      const told = await killWriterAfter(uris.log, { seed, acknowledged: 20 + (seed % 60) });
      const models = [emptyModel];
      for (const { model } of seededSteps(seed)) if (models.push(model) > told + 1) break;
      const allowed = models.slice(told).map(dumpModel);
      const instance = await family.open(uris, 'read-write', context);
      const found = await dumpState(instance);
      const known = allowed.some((state) => state.meta === found.meta && equal(state, found));
      ok(known, `seed ${seed}: the state after ${told} acknowledged mutations is neither of two`);
      await instance.close();
    }
  });

  test('closed: no descriptor of this process stays open below its directory [CUT-7]', async () => {
    const { path, uris } = freshPlace(family);
    const instance = await family.open(uris, 'create', context);
    await applyToInstance(instance, { entries: { after: 0n, list: entriesOf(1n, 3n) } });
    await dumpState(instance);
    await instance.close();
    const descriptors = await readdir('/proc/self/fd');
    const targets = await Promise.all(
      descriptors.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
    );
    deepStrictEqual(
      targets.filter((target) => target.startsWith(path)),
      [],
    );
  });

  test('a mutation that fails after its commit began: the handle takes no other, and a reopen shows the outcome [LOG-8]', async () => {
    const { uris } = freshPlace(family);
    const removeFile = () => Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }));
    const failing = { files: { ...nodeFileLayer, removeFile } };
    const created = await family.open(uris, 'create', context);
    await applyToInstance(created, { snapshot: snapshotOf(3n, 'three') });
    await created.close();
    const instance = await family.open(uris, 'read-write', failing);
    const replacement = { snapshot: snapshotOf(4n, 'four'), meta: { term: 5n } };
    await rejects(applyToInstance(instance, replacement), /EIO/);
    await rejectsWith('instance.poisoned', () => instance.apply({ meta: { term: 6n } }));
    await instance.close();
    const again = await family.open(uris, 'read-write', context);
    strictEqual(again.state().meta.term, 5n);
    strictEqual(again.state().snapshot?.lastIncludedIndex, 4n);
    await again.close();
  });

  test('three URIs that differ: refused', async () => {
    const { uris } = freshPlace(family);
    const other = { ...uris, meta: `${uris.log}-meta` };
    await rejectsWith('uri.invalid', () => family.open(other, 'create', context));
  });

  test('its path as a fence file: counts as empty, any other file as occupied [BOOT-1] [CUT-7]', async () => {
    const { path, uris } = freshPlace(family);
    await writeFile(path, '{"quorumshift":"fence","replica":"c/m"}\n');
    strictEqual(await family.occupied(uris, context), null);
    await rejectsWith('instance.fenced', () => family.open(uris, 'read-write', context));
    await rejectsWith('instance.not-empty', () => family.stage(uris, context));
    await writeFile(path, 'something else');
    await rejectsWith('instance.missing', () => family.open(uris, 'read-write', context));
    strictEqual(await family.occupied(uris, context), 'a file is there');
  });

  test('a directory that holds something else: refused and untouched [BOOT-1]', async () => {
    const { path, uris } = freshPlace(family);
    await mkdir(path);
    await writeFile(join(path, 'precious'), 'data');
    await rejectsWith('instance.not-empty', () => family.stage(uris, context));
    await rejectsWith('instance.not-empty', () => family.open(uris, 'create', context));
    deepStrictEqual(await readdir(path), ['precious']);
  });

  test('a staging place whose database was never finished: it begins anew [BOOT-4]', async () => {
    const { path, uris } = freshPlace(family);
    const first = await family.stage(uris, context);
    await first.close();
    await rm(join(path, 'db'), { recursive: true });
    await mkdir(join(path, 'db'));
    await writeFile(join(path, 'db', 'CURRENT'), 'torn');
    const second = await family.stage(uris, context);
    await second.begin(3n);
    await second.append(batchOf(entriesOf(3n, 9n)));
    await second.publish();
    const names = (await readdir(path)).toSorted();
    deepStrictEqual(names, ['db', 'snapshots']);
    const instance = await family.open(uris, 'read-only', context);
    const expected = { ...emptyModel, firstIndex: 3n, entries: entriesOf(3n, 9n) };
    deepStrictEqual(await dumpState(instance), dumpModel(expected));
    await instance.close();
  });

  test('imported entries that compress, that do not, and that are large: read back and cut [FAM-3]', async () => {
    const { uris } = freshPlace(family);
    const payloads = [
      ...Array.from({ length: 200 }, (_, i) => Buffer.from(`line ${i} `.repeat(200))),
      ...Array.from({ length: 200 }, () => randomBytes(2000)),
      Buffer.alloc(3_000_000, 'a large one '),
      Buffer.alloc(0),
    ];
    const entries = payloads.map((payload, i) => ({
      index: BigInt(i) + 1n,
      term: 1n,
      type: EntryType.DATA,
      payload,
    }));
    const staging = await family.stage(uris, context);
    await staging.begin(1n);
    await staging.append(batchOf(entries));
    await staging.publish();
    const instance = await family.open(uris, 'read-write', context);
    deepStrictEqual(await dumpState(instance), dumpModel({ ...emptyModel, entries }));
    await applyToInstance(instance, { truncate: { lastKept: 10n } });
    const kept = { ...emptyModel, entries: entries.slice(0, 10) };
    deepStrictEqual(await dumpState(instance), dumpModel(kept));
    await instance.close();
  });

  test('left between publishing and the removal of its marker: it still does not open, and resumes [BOOT-4]', async () => {
    const { path, uris } = freshPlace(family);
    const first = await family.stage(uris, context);
    await first.begin(1n);
    await first.append(batchOf(entriesOf(1n, 5n)));
    await first.checkpoint({ firstIndex: 1n, lastIndex: 5n, note: {} });
    const marker = await readFile(join(path, stagingMarkerName));
    const checkpoint = await readFile(join(path, 'quorumshift-checkpoint.json'));
    await first.append(batchOf(entriesOf(6n, 8n)));
    await first.publish();
    await writeFile(join(path, stagingMarkerName), marker);
    await writeFile(join(path, 'quorumshift-checkpoint.json'), checkpoint);
    await rejectsWith('instance.staging', () => family.open(uris, 'read-write', context));
    const second = await family.stage(uris, context);
    strictEqual(second.progress?.lastIndex, 5n);
    await second.append(batchOf(entriesOf(6n, 7n, 2n)));
    await second.publish();
    const instance = await family.open(uris, 'read-write', context);
    const entries = [...entriesOf(1n, 5n), ...entriesOf(6n, 7n, 2n)];
    deepStrictEqual(await dumpState(instance), dumpModel({ ...emptyModel, entries }));
    await instance.close();
  });

  test('a snapshot file altered on disk: refused when read, with the file named [EQ-3]', async () => {
    const { path, uris } = freshPlace(family);
    const instance = await family.open(uris, 'create', context);
    await applyToInstance(instance, { snapshot: snapshotOf(4n, 'four') });
    const file = join(path, 'snapshots', '1', 'tree', 'data');
    const bytes = await readFile(file);
    await writeFile(file, bytes.fill(0x58, 3, 4));
    const reader = await instance.snapshots.latest();
    ok(reader !== null);
    const error = await rejectsWith('data.corrupt', () => dumpSnapshot(reader));
    match(error.message, /tree\/data/);
    await instance.close();
  });

  test('snapshots replaced, aborted and left: only the published tree stays on disk [LOG-7]', async () => {
    const { path, uris } = freshPlace(family);
    const instance = await family.open(uris, 'create', context);
    for (const index of [4n, 4n, 6n]) {
      await applyToInstance(instance, { snapshot: snapshotOf(index, `at ${index}`) });
    }
    const left = await instance.snapshots.begin(snapshotOf(9n, 'nine').meta);
    await left.file({ path: 'x', userMeta: null }, [Buffer.from('x')]);
    const held = await instance.snapshots.latest();
    await applyToInstance(instance, { snapshot: snapshotOf(7n, 'seven') });
    deepStrictEqual((await readdir(join(path, 'snapshots'))).toSorted(), ['3', '4', '5']);
    await held?.close();
    await instance.close();
    const again = await family.open(uris, 'read-write', context);
    deepStrictEqual(await readdir(join(path, 'snapshots')), ['5']);
    await again.close();
  });

  test('a read overtaken by a truncation of what it has still to read: it ends, never mixing old and new [IMG-1]', async () => {
    const { uris } = freshPlace(family);
    const instance = await family.open(uris, 'create', context);
    const payload = Buffer.alloc(100_000, 1);
    const list = (term: bigint, from: bigint) =>
      Array.from({ length: 60 }, (_, i) => ({ index: from + BigInt(i), term, type: 2, payload }));
    await applyToInstance(instance, { entries: { after: 0n, list: list(1n, 1n) } });
    const reading = instance.read(1n, 60n, { maxBytes: 200_000 })[Symbol.asyncIterator]();
    await reading.next();
    const entries = { after: 10n, list: list(2n, 11n) };
    await applyToInstance(instance, { truncate: { lastKept: 10n }, entries });
    await rejectsWith('log.out-of-range', async () => {
      while (!(await reading.next()).done);
    });
    await instance.close();
  });
});

test('a byte of a stored chunk changed inside SQLite: reading it is refused', async () => {
  const { path, uris } = freshPlace(sqliteFamily);
  const instance = await sqliteFamily.open(uris, 'create', context);
  const entries = { after: 0n, list: entriesOf(1n, 3n) };
  await applyToInstance(instance, { entries });
  await instance.close();
  const file = join(path, 'db', 'state.sqlite');
  const bytes = await readFile(file);
  const at = bytes.indexOf('entry 2 of term');
  ok(at > 0);
  bytes.writeUInt8(0x45, at);
  await writeFile(file, bytes);
  const damaged = await sqliteFamily.open(uris, 'read-only', context);
  await rejectsWith('data.corrupt', () => dumpState(damaged));
  await damaged.close();
});

function equal(a: unknown, b: unknown): boolean {
  try {
    deepStrictEqual(a, b);
    return true;
  } catch {
    return false;
  }
}

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { readControl, writeControl, type BulkControl } from '../../storage/binding/control-file.ts';
import { RecordStore } from '../../storage/binding/record-store.ts';
import { nodeFileLayer as files } from '../../storage/node-file-layer.ts';

let stateDir: string;
let store: RecordStore;

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'quorumshift-control-'));
  store = newStore();
});

afterEach(() => rm(stateDir, { recursive: true, force: true }));

/** As another process on the machine has one. */
function newStore(): RecordStore {
  const replica = { cluster: 'kv', member: 'n1' };
  return new RecordStore({ files, stateDir, replica, now: () => new Date() });
}

function wish(lease: number, version: number, paused: boolean): BulkControl {
  return { order: { lease, version }, paused, bytesPerSecond: paused ? null : 1000 * version + 1 };
}

const present = () => readControl(files, store.directory);

test('nobody has wished anything: no pause, no limit', async () => {
  expect(await present()).toMatchObject({ paused: false, bytesPerSecond: null });
});

test('an older wish that arrives late changes nothing [OPS-5]', async () => {
  await writeControl(store, wish(2, 3, true));
  await writeControl(store, wish(2, 2, false));
  await writeControl(store, wish(1, 9, false));
  expect(await present()).toEqual(wish(2, 3, true));
});

test('one that comes again, a newer one, and the first of a new lease are put in force', async () => {
  for (const next of [wish(1, 4, true), wish(1, 4, true), wish(1, 5, false), wish(2, 0, true)]) {
    await writeControl(store, next);
    expect(await present()).toEqual(next);
  }
});

test('many at once, from two processes: the newest is there, whole', async () => {
  const versions = [7, 1, 9, 3, 8, 2, 6];
  const writers = [store, newStore()];
  await Promise.all(
    versions.map((version, i) => writeControl(writers[i % 2] ?? store, wish(1, version, false))),
  );
  expect(await present()).toEqual(wish(1, 9, false));
});

test('a file that cannot be read is refused by name, and replaced by the next wish', async () => {
  await writeControl(store, wish(1, 1, true));
  await writeFile(store.directory.control, '{"paused":true}');
  await expect(present()).rejects.toMatchObject({ code: 'config.invalid' });
  await writeControl(store, wish(1, 0, false));
  expect(await present()).toEqual(wish(1, 0, false));
});

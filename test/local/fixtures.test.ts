import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { Instance, StagingInstance } from '../../storage/contracts.ts';
import { createLocalFamily, localFamily } from '../../storage/families/local/family.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import {
  expectedLines,
  fixtureNames,
  fixtureUris,
  linesOf,
  treeFingerprint,
  unpackFixture,
  type Line,
} from './braft-fixtures.ts';

const context = { files: nodeFileLayer };
let root = '';

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'quorumshift-fixtures-'));
});

afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

/** Columns of braft's lines that say how it reads, not what. */
const aboutReading = new Set([
  'rc',
  'append_checksum',
  'segments',
  'dir',
  'dir_index',
  'meta_rc',
  'exists',
  'empty',
]);

function comparable(lines: readonly Line[]): unknown[] {
  return lines
    .filter((line) => ['log', 'entry', 'meta', 'snapshot', 'snapshot_file'].includes(line.t))
    .map((line) => {
      const kept = Object.entries(line).filter(([key]) => !aboutReading.has(key));
      const entries = line.t === 'meta' && line['present'] === false ? absentMeta : kept;
      return Object.fromEntries(entries);
    });
}

/** What braft assumes where raft_meta is absent. */
const absentMeta = Object.entries({ t: 'meta', term: '1', voted_for: '0.0.0.0:0:0:0' });

describe.each(fixtureNames)('directory %s, written by real braft', (name) => {
  test('opened read-only, it reads as braft reads it, and no byte of it changes [FAM-9]', async () => {
    const directory = join(root, name);
    unpackFixture(name, directory);
    const before = treeFingerprint(directory);
    const instance = await localFamily.open(fixtureUris(name, directory), 'read-only', context);
    const lines = await linesOf(instance);
    await instance.close();
    expect(comparable(lines)).toEqual(comparable(expectedLines(name)));
    expect(treeFingerprint(directory)).toEqual(before);
  });

  test('staged from what was read, it has the bytes that braft wrote [FAM-9] [BOOT-3]', async () => {
    const directory = join(root, `${name}-source`);
    unpackFixture(name, directory);
    const source = await localFamily.open(fixtureUris(name, directory), 'read-only', context);
    const copy = join(root, `${name}-copy`);
    const family = createLocalFamily({ maxSegmentBytes: segmentBytesOf(name) });
    const uris = fixtureUris('copy', copy);
    const staging = await family.stage(uris, context);
    await copyState(source, staging);
    const lines = await linesOf(source);
    await source.close();
    const copied = await localFamily.open(uris, 'read-only', context);
    expect(await linesOf(copied)).toEqual(lines);
    await copied.close();
    compareFiles(name, directory, copy);
  });
});

/** The `raft_max_segment_size` that each fixture was written with. */
function segmentBytesOf(name: string): number {
  if (name === 'tiny-1') return 1;
  return name.startsWith('node') || name === 'types-1' ? 8 * 1024 * 1024 : 8192;
}

async function copyState(source: Instance, staging: StagingInstance): Promise<void> {
  const { firstIndex, lastIndex, meta } = source.state();
  await staging.begin(firstIndex);
  for await (const batch of source.read(firstIndex, lastIndex, { maxBytes: 3000 })) {
    await staging.append(batch);
  }
  await staging.setMeta(meta);
  const reader = await source.snapshots.latest();
  if (reader !== null) {
    const writer = await staging.snapshot(reader.meta);
    for (const file of reader.files) await writer.file(file, reader.read(file.path));
    await writer.prepare();
    await reader.close();
  }
  await staging.publish();
}

/** Segments that differ by design, and why; of every other fixture they are the same bytes. */
const otherSegments = new Map([
  ['full-1', 'entries below the first index are not copied'],
  ['fuzz-1', 'entries below the first index are not copied'],
  ['mixed-1', 'its checksums are of both kinds'],
  ['murmur-1', 'its checksums are of the other kind'],
  ['prefix-mid-1', 'entries below the first index are not copied'],
  ['snapshot-replaced-1', 'entries below the first index are not copied'],
  ['torn-body-1', 'its torn tail is not copied'],
  ['torn-header-1', 'its torn tail is not copied'],
  ['torn-header24-1', 'its torn tail is not copied'],
]);

function compareFiles(name: string, directory: string, copy: string): void {
  const read = (base: string, path: string) => readFileSync(join(base, path));
  const filesBelow = (path: string) =>
    existsSync(path)
      ? readdirSync(path, { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map((entry) => join(entry.parentPath, entry.name).slice(path.length))
          .toSorted()
      : [];
  expect(read(copy, 'log/log_meta')).toEqual(read(directory, 'log/log_meta'));
  if (existsSync(join(directory, 'raft_meta/raft_meta'))) {
    expect(read(copy, 'raft_meta/raft_meta')).toEqual(read(directory, 'raft_meta/raft_meta'));
  }
  const snapshotFiles = filesBelow(join(directory, 'snapshot'));
  expect(filesBelow(join(copy, 'snapshot'))).toEqual(snapshotFiles);
  for (const path of snapshotFiles) {
    expect(read(join(copy, 'snapshot'), path)).toEqual(read(join(directory, 'snapshot'), path));
  }
  if (otherSegments.has(name)) return;
  const segments = filesBelow(join(directory, 'log')).filter((path) => /log_(\d|in)/.test(path));
  const copies = filesBelow(join(copy, 'log')).filter((path) => /log_(\d|in)/.test(path));
  expect(copies.map((path) => read(join(copy, 'log'), path))).toEqual(
    segments.map((path) => read(join(directory, 'log'), path)),
  );
}

import { createHash, randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { batchBytes, sliceBatch } from '../../storage/entry-batch.ts';
import { digestInstance } from '../../storage/equivalence/state-digest.ts';
import { memoryFamily } from '../../storage/families/memory/family.ts';
import { fileSink, streamSink } from '../../storage/image/image-sink.ts';
import { fileBytes } from '../../storage/image/image-source.ts';
import { readImage } from '../../storage/image/image-reader.ts';
import { exportImage, importImage, verifyImage } from '../../storage/image/transfer-image.ts';
import { requireWhole } from '../../storage/image/copy-state.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { dumpState } from '../../storage/testing/state-dump.ts';
import {
  imageOf,
  piecesOf,
  publishAndOpen,
  sampleInstance,
  stageMemory,
  type SampleOptions,
} from './sample-state.ts';

const states: Readonly<Record<string, SampleOptions>> = {
  'an empty log at 1 without a snapshot': { entries: 0, files: null },
  'an empty log at a position': { entries: 0, firstIndex: 77n },
  'one entry at index 0': { entries: 1, firstIndex: 0n, files: {} },
  'several chunks by index': { entries: 9000, firstIndex: 4000n, maxPayloadBytes: 40 },
  'several chunks by size': { entries: 300, maxPayloadBytes: 80_000, files: null },
  'entries larger than a chunk': { entries: 4, maxPayloadBytes: 20_000_000, seed: 5, files: null },
  'a snapshot file of several chunks': { entries: 5, files: { a: 9_000_001, 'b/c': 1 } },
  'indexes near the largest': { entries: 100, firstIndex: 2n ** 63n - 200n, files: null },
};

describe.each(Object.entries(states))('%s', (_, options) => {
  test('is the same after export and import, with one digest [FAM-1] [FAM-2] [BOOT-3] [IMG-3]', async () => {
    const source = await sampleInstance(options);
    const image = await imageOf(source);
    const staging = await stageMemory();
    const imported = await importImage(piecesOf(image), staging);
    const target = await publishAndOpen(staging);
    expect(await dumpState(target)).toEqual(await dumpState(source));
    const digest = await digestInstance(source);
    expect(imported.digest.root).toBe(digest.root);
    expect((await digestInstance(target)).root).toBe(digest.root);
    expect((await verifyImage(piecesOf(image, 1000))).digest.root).toBe(digest.root);
  });

  test('gives the same bytes however it is read, and when exported from the copy [IMG-7] [BOOT-2]', async () => {
    const source = await sampleInstance(options);
    const image = await imageOf(source);
    const staging = await stageMemory();
    await importImage(piecesOf(image), staging);
    const copy = await imageOf(await publishAndOpen(staging));
    expect(sha256(copy)).toBe(sha256(image));
  });
});

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

describe('an image file', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'quorumshift-image-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  test('appears whole, holds what a pipe would, and its header names the source [IMG-2] [IMG-8]', async () => {
    const source = await sampleInstance();
    const path = join(directory, 'a.image');
    await exportImage(source, await fileSink(nodeFileLayer, path), { sourceFormatVersion: '1' });
    expect(await readdir(directory)).toEqual(['a.image']);
    const pipe = new PassThrough();
    const piped = (async () => {
      const pieces: Buffer[] = [];
      for await (const piece of pipe) pieces.push(Buffer.from(piece));
      return Buffer.concat(pieces);
    })();
    await exportImage(source, streamSink(pipe), { sourceFormatVersion: '1' });
    pipe.end();
    expect((await piped).equals(await readFile(path))).toBe(true);
    const { header } = await verifyImage(fileBytes(nodeFileLayer, path));
    expect(header).toEqual({
      sourceFamily: 'memory',
      sourceFormatVersion: '1',
      cut: { firstIndex: 1n, lastIndex: 100n, term: 1000n, snapshotIndex: 7n },
    });
  });

  test('is not replaced by another export, which says why', async () => {
    const source = await sampleInstance();
    const path = join(directory, 'a.image');
    await exportImage(source, await fileSink(nodeFileLayer, path), { sourceFormatVersion: '1' });
    await expect(fileSink(nodeFileLayer, path)).rejects.toMatchObject({
      code: 'instance.not-empty',
    });
  });

  test('is absent after an export that was aborted, and so is its temporary file [BOOT-4]', async () => {
    const source = await sampleInstance({ entries: 9000 });
    const controller = new AbortController();
    const path = join(directory, 'a.image');
    const sink = await fileSink(nodeFileLayer, path);
    const exported = exportImage(source, sink, {
      sourceFormatVersion: '1',
      signal: controller.signal,
      onProgress: () => controller.abort(new Error('stopped by the test')),
    });
    await expect(exported).rejects.toThrow('stopped by the test');
    expect(await readdir(directory)).toEqual([]);
  });
});

test('a source that changes while it is exported is refused [IMG-1]', async () => {
  const source = await sampleInstance({ entries: 3 });
  let changed: Promise<void> | null = null;
  const sink = {
    write: async () => {
      changed ??= source.apply({ meta: { term: 2000n } });
      await changed;
    },
    finish: async () => {},
    abort: async () => {},
  };
  await expect(exportImage(source, sink, { sourceFormatVersion: '1' })).rejects.toMatchObject({
    code: 'image.source-changed',
  });
});

test('an import interrupted at any point resumes and ends in the same state [BOOT-4]', async () => {
  const source = await sampleInstance({ entries: 40_000, maxPayloadBytes: 100 });
  const image = await imageOf(source);
  const name = randomUUID();
  const controllers: AbortController[] = [];
  let appended = 0;
  for (let attempt = 0; attempt < 12; attempt += 1) {
    const controller = new AbortController();
    controllers.push(controller);
    const staging = await stageMemory(name);
    let steps = 0;
    const done = await importImage(piecesOf(image), staging, {
      checkpointBytes: 1,
      signal: controller.signal,
      onProgress: ({ entriesDone }) => {
        steps += 1;
        if (entriesDone <= appended || attempt > 8) return;
        appended = entriesDone;
        controller.abort(new Error('interrupted'));
      },
    }).then(
      () => true,
      () => false,
    );
    expect(steps).toBeGreaterThan(0);
    await staging.close();
    if (done) break;
    const again = await stageMemory(name);
    expect(() => requireWhole(again)).toThrow(
      expect.objectContaining({ code: 'instance.staging' }),
    );
    await again.close();
    const uris = memoryFamily.expand(`memory://${name}`);
    await expect(
      memoryFamily.open(uris, 'read-only', { files: nodeFileLayer }),
    ).rejects.toMatchObject({ code: 'instance.staging' });
  }
  expect(controllers.length).toBeGreaterThan(3);
  const staging = await stageMemory(name);
  requireWhole(staging);
  const target = await publishAndOpen(staging);
  expect(await dumpState(target)).toEqual(await dumpState(source));
});

test('an import resumed with another image is refused and the staging place keeps what it has [BOOT-4]', async () => {
  const options = { entries: 9000, maxPayloadBytes: 50 };
  const image = await imageOf(await sampleInstance(options));
  const other = await imageOf(await sampleInstance({ ...options, seed: 2 }));
  const name = randomUUID();
  const first = await stageMemory(name);
  const controller = new AbortController();
  const interrupted = importImage(piecesOf(image), first, {
    checkpointBytes: 1,
    signal: controller.signal,
    onProgress: () => controller.abort(new Error('interrupted')),
  });
  await expect(interrupted).rejects.toThrow('interrupted');
  await first.close();
  const second = await stageMemory(name);
  await expect(importImage(piecesOf(other), second)).rejects.toMatchObject({
    code: 'image.resume-mismatch',
  });
  await second.close();
  const third = await stageMemory(name);
  await importImage(piecesOf(image), third);
  await third.close();
});

test('a chunk of the log holds as many entries as fit in 512 KiB [IMG-7]', async () => {
  const source = await sampleInstance({ entries: 300, maxPayloadBytes: 80_000, files: null });
  const runs: number[] = [];
  const sizes: number[] = [];
  for await (const section of readImage(piecesOf(await imageOf(source)))) {
    if (section.kind !== 'entries') continue;
    const { batch } = section;
    runs.push(batchBytes(batch));
    for (let i = 0; i < batch.count; i += 1) sizes.push(batchBytes(sliceBatch(batch, i, i + 1)));
  }
  const due: number[] = [];
  for (const size of sizes) {
    const last = due.at(-1) ?? Infinity;
    if (last + size > 2 ** 19) due.push(size);
    else due[due.length - 1] = last + size;
  }
  expect(runs.length).toBeGreaterThan(3);
  expect(runs).toEqual(due);
});

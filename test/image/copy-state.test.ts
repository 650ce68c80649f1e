import { randomUUID } from 'node:crypto';

import { expect, test } from 'vitest';

import { QuorumshiftError } from '../../core/errors.ts';
import { copyState, requireWhole } from '../../storage/image/copy-state.ts';
import type { RateLimit } from '../../storage/image/rate-limit.ts';
import { dumpState } from '../../storage/testing/state-dump.ts';
import { publishAndOpen, publishSnapshot, sampleInstance, stageMemory } from './sample-state.ts';

const options = { entries: 20_000, maxPayloadBytes: 400 };

/** Copies until `entries` are durable, then is interrupted. */
async function copyPart(
  source: Awaited<ReturnType<typeof sampleInstance>>,
  part: { name: string; entries: number },
): Promise<void> {
  const staging = await stageMemory(part.name);
  const controller = new AbortController();
  const copy = copyState(source, staging, {
    checkpointBytes: 1,
    signal: controller.signal,
    onProgress: ({ entriesDone }) => {
      if (entriesDone >= part.entries) controller.abort(new Error('interrupted'));
    },
  });
  await expect(copy).rejects.toThrow('interrupted');
  await staging.close();
}

test('a copy is the source, and is whole only at its end [BOOT-3] [BOOT-4]', async () => {
  const source = await sampleInstance(options);
  const staging = await stageMemory();
  expect(() => requireWhole(staging)).toThrow(
    expect.objectContaining({ code: 'instance.staging' }),
  );
  await copyState(source, staging);
  await staging.close();
  const again = await stageMemory(staging.uris.log.slice('memory://'.length));
  requireWhole(again);
  expect(await dumpState(await publishAndOpen(again))).toEqual(await dumpState(source));
});

test('an interrupted copy reads only what is missing, and ends in the same state [BOOT-4]', async () => {
  const source = await sampleInstance(options);
  const name = randomUUID();
  await copyPart(source, { name, entries: 5000 });
  await copyPart(source, { name, entries: 15_000 });
  const staging = await stageMemory(name);
  const staged = Number(staging.progress?.lastIndex);
  expect(staged).toBeGreaterThan(10_000);
  let bytes = 0;
  await copyState(source, staging, { onProgress: ({ bytesDone }) => (bytes = bytesDone) });
  expect(bytes).toBeLessThan((20_000 - staged) * 450 + 80_000);
  expect(await dumpState(await publishAndOpen(staging))).toEqual(await dumpState(source));
});

test('a finished copy, run again, copies nothing [OPS-5]', async () => {
  const source = await sampleInstance(options);
  const name = randomUUID();
  const first = await stageMemory(name);
  await copyState(source, first);
  await first.close();
  const second = await stageMemory(name);
  const seen: number[] = [];
  await copyState(source, second, { onProgress: ({ bytesDone }) => seen.push(bytesDone) });
  expect(seen).toEqual([0]);
  expect(await dumpState(await publishAndOpen(second))).toEqual(await dumpState(source));
});

test('a copy is not resumed from a source whose state is another one [BOOT-4]', async () => {
  const source = await sampleInstance(options);
  const name = randomUUID();
  await copyPart(source, { name, entries: 5000 });
  const others = {
    'another prefix': await sampleInstance({ ...options, seed: 2 }),
    'a longer log': await sampleInstance({ ...options, entries: 20_001 }),
    'another term': await sampleInstance(options),
  };
  await others['another term'].apply({ meta: { term: 5000n } });
  for (const [what, other] of Object.entries(others)) {
    const staging = await stageMemory(name);
    const code = await copyState(other, staging).then(
      () => 'copied',
      (error: unknown) => error instanceof QuorumshiftError && error.code,
    );
    expect([what, code]).toEqual([what, 'image.resume-mismatch']);
    await staging.close();
  }
  const staging = await stageMemory(name);
  await copyState(source, staging);
  await staging.close();
  await publishSnapshot(source, { files: {}, peers: ['10.0.0.9:1:0'] });
  const whole = await stageMemory(name);
  await expect(copyState(source, whole)).rejects.toMatchObject({ code: 'image.resume-mismatch' });
});

test('a copy keeps to its limit, and goes on when a standstill is lifted [OPS-3]', async () => {
  const source = await sampleInstance({ entries: 3000, maxPayloadBytes: 4000, files: null });
  const started = performance.now();
  let bytes = 0;
  await copyState(source, await stageMemory(), {
    rateLimit: { bytesPerSecond: 20_000_000 },
    onProgress: ({ bytesDone }) => (bytes = bytesDone),
  });
  expect(performance.now() - started).toBeGreaterThan((bytes / 20_000_000) * 1000 * 0.9);
  const rateLimit: RateLimit = { bytesPerSecond: 0 };
  await copyState(source, await stageMemory(), {
    rateLimit,
    onProgress: () => setImmediate(() => (rateLimit.bytesPerSecond = null)),
  });
});

test('a copy gives way again and again, and waits as long as others go first', async () => {
  const source = await sampleInstance({ entries: 3000, maxPayloadBytes: 4000, files: null });
  let [bytes, asked] = [0, 0];
  const others: { passed: () => void }[] = [];
  const copied = copyState(source, await stageMemory(), {
    onProgress: ({ bytesDone }) => (bytes = bytesDone),
    giveWay: () => {
      asked += 1;
      return asked === 1 ? new Promise((passed) => others.push({ passed })) : Promise.resolve();
    },
  });
  while (others.length === 0) await new Promise((next) => setImmediate(next));
  const before = bytes;
  for (let turn = 0; turn < 100; turn += 1) await new Promise((next) => setImmediate(next));
  expect([bytes, asked]).toEqual([before, 1]);
  others[0]?.passed();
  await copied;
  // A batch has one MiB.
  expect(asked).toBeGreaterThanOrEqual(Math.floor(bytes / 1_100_000));
  expect(bytes).toBeGreaterThan(2 * before);
});

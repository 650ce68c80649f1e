/** Opens directories in memory whose content a test states, and says how that went. */
import { expect } from 'vitest';
import type { ErrorCode } from '../../core/errors.ts';
import { hasCode, QuorumshiftError } from '../../core/errors.ts';
import type { Instance, OpenMode } from '../../storage/contracts.ts';
import { entryAt, type LogEntry } from '../../storage/entry-batch.ts';
import { localFamily } from '../../storage/families/local/family.ts';
import type { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { directoryOf, framed, record } from './braft-files.ts';

export const uris = localFamily.expand('local:///data/a');
export const zeros = (count: number) => Buffer.alloc(count);
export const raftMeta7 = framed('08071212' + Buffer.from('127.0.0.1:8000:0:0').toString('hex'));
export const peersA = Buffer.from(
  '0a12' + Buffer.from('127.0.0.1:8001:0:0').toString('hex'),
  'hex',
);
export const configuration = record({ type: 3, payload: peersA });

export type Content = Readonly<Record<string, Uint8Array>>;

export function open(files: CrashFileLayer, mode: OpenMode = 'read-only'): Promise<Instance> {
  return localFamily.open(uris, mode, { files });
}

export function codeOf(error: unknown): string {
  return error instanceof QuorumshiftError ? error.code : String(error);
}

export async function refusal(opening: Promise<Instance>): Promise<unknown> {
  return opening.then(
    () => 'it opened',
    (error: unknown) => error,
  );
}

export async function readAll(instance: Instance): Promise<LogEntry[]> {
  const { firstIndex, lastIndex } = instance.state();
  const entries: LogEntry[] = [];
  for await (const batch of instance.read(firstIndex, lastIndex)) {
    for (let i = 0; i < batch.count; i += 1) entries.push(entryAt(batch, i));
  }
  return entries;
}

/** What opening and reading in one go, with the checks left to the reading, comes to. */
export async function readAtOnce(files: CrashFileLayer): Promise<LogEntry[]> {
  const instance = await localFamily.open(uris, 'read-only', { files, readsAll: true });
  try {
    return await readAll(instance);
  } finally {
    await instance.close();
  }
}

export async function errorOf(attempt: Promise<unknown>): Promise<unknown> {
  return attempt.then(
    () => 'it was read',
    (error: unknown) => error,
  );
}

/** Opens read-only: braft's range; nothing in the directory changes. */
export async function opensAs(content: Content, range: [number, number]): Promise<Instance> {
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

export const fenceText =
  '{"quorumshift":"fence","replica":"c/m","migration":"m1","parked":"/b","holds":"directory"}\n';

export async function refuses(content: Content, code: ErrorCode = 'data.corrupt'): Promise<void> {
  const files = await directoryOf(content);
  const before = files.dump();
  const error = await refusal(open(files));
  expect(codeOf(error)).toBe(code);
  expect(await errorOf(readAtOnce(files)), 'with checks left to the reading').toEqual(error);
  expect(files.dump()).toBe(before);
}

export async function writerRefuses(content: Content): Promise<void> {
  const files = await directoryOf(content);
  const before = files.dump();
  expect(hasCode(await refusal(open(files, 'read-write')), 'data.corrupt')).toBe(true);
  expect(files.dump()).toBe(before);
}

/** What must hold on a machine at every moment of a migration, a crash being no exception. */
import { expect } from 'vitest';

import type { BindingRecord } from '../../schemas/binding-record.ts';
import type { InstanceUris } from '../../storage/contracts.ts';
import { lookAt } from '../../storage/binding/fence-file.ts';
import { readJournal, verifyJournal } from '../../storage/binding/journal.ts';
import { ownPaths } from '../../storage/binding/parking.ts';
import { parkedName } from '../../storage/binding/path-fence.ts';
import { RecordStore } from '../../storage/binding/record-store.ts';
import type { FileLayer } from '../../storage/file-layer.ts';
import { readWhole } from '../../storage/files.ts';
import { stagingMarkerName } from '../../storage/staging-marker.ts';
import { families, replica } from './machine-driver.ts';
import { dumpOf, originName, uriA, uriB, type ExpectedEnd } from './machine-scenarios.ts';

/** Bound on any file of these tests. */
const maxBytes = 1024 * 1024;

export function recordStoreOf(files: FileLayer, root = ''): RecordStore {
  return new RecordStore({ files, stateDir: `${root}/state`, replica, now: () => new Date(0) });
}

/** Every file below `path`, with its bytes. */
export async function treeOf(files: FileLayer, path: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const walk = async (at: string): Promise<void> => {
    const stat = await files.stat(at);
    if (stat?.kind === 'file') {
      found[at.slice(path.length)] = (await readWhole(files, at, maxBytes))?.toString('hex') ?? '';
    } else if (stat !== null) {
      found[`${at.slice(path.length)}/`] = '';
      for (const name of (await files.list(at)).toSorted()) await walk(`${at}/${name}`);
    }
  };
  await walk(path);
  return found;
}

/** The bytes of A, directory by directory, as they must stay until finalize (I12). */
export async function bytesOfA(files: FileLayer): Promise<Record<string, string>[]> {
  return Promise.all(ownPaths(families, uriA).map((path) => treeOf(files, path)));
}

export interface LookAtMachine {
  readonly files: FileLayer;
  readonly sourceBytes: readonly Record<string, string>[];
  /** Revision that was acknowledged before the crash; one more may have been under way. */
  readonly leastRevision: number;
}

/** [I8] [CUT-7] [I12] [I18] */
export async function checkMachine(look: LookAtMachine): Promise<BindingRecord | null> {
  const { files, leastRevision } = look;
  const store = recordStoreOf(files);
  const record = await store.read();
  expect(record?.revision ?? 0).toBeGreaterThanOrEqual(leastRevision);
  await checkJournal(files, record);
  await checkSource(look, record);
  if (record === null) return null;
  for (const path of ownPaths(families, uriA)) await checkPath(files, { record, path });
  for (const path of ownPaths(families, uriB)) await checkPath(files, { record, path });
  await checkPrimary(files, record);
  return record;
}

/** A line, durable before it, for each revision; the last line may be of one that never came. */
async function checkJournal(files: FileLayer, record: BindingRecord | null): Promise<void> {
  const { journal } = recordStoreOf(files).directory;
  await verifyJournal(files, journal);
  const revisions = new Set((await readJournal(files, journal)).map((line) => line['revision']));
  for (let revision = 1; revision <= (record?.revision ?? 0); revision += 1) {
    expect(revisions, `a journal line of revision ${revision}`).toContain(revision);
  }
}

/** A is whole and unchanged wherever it lies, until finalize begins. */
async function checkSource(look: LookAtMachine, record: BindingRecord | null): Promise<void> {
  if (record?.migration?.phase === 'finalize' || record?.lastEnded?.result === 'finalized') return;
  const { files, sourceBytes } = look;
  for (const [i, path] of ownPaths(families, uriA).entries()) {
    const places = [path, parkedName(path, 'm1-source')];
    const found: Record<string, string>[] = [];
    for (const place of places)
      if (await isOfA(files, place)) found.push(await treeOf(files, place));
    expect(found, `A's ${path}`).toEqual([sourceBytes[i]]);
  }
}

function isOfA(files: FileLayer, directory: string): Promise<boolean> {
  return files.stat(`${directory}/${originName}`).then((stat) => stat !== null);
}

/** Never nothing, never another instance than the primary, never an unfinished one (CUT-7). */
async function checkPath(
  files: FileLayer,
  { record, path }: { record: BindingRecord; path: string },
): Promise<void> {
  const found = await lookAt(files, path);
  if (found.kind === 'fence') return;
  const says = `${path} holds ${found.kind} at ${record.migration?.phase ?? 'the end'}`;
  const isSource = ownPaths(families, uriA).includes(path);
  // The target's path is reserved by the fence step, and by nothing where that never ended.
  const wasFenced = (await didFence(files)) && record.migration?.phase !== 'fence';
  if (found.kind === 'absent' && !isSource) return expect(wasFenced, says).toBe(false);
  expect(found.kind, says).toBe('directory');
  expect(ownPaths(families, record.primary.uris), says).toContain(path);
  expect(await files.stat(`${path}/${stagingMarkerName}`), says).toBeNull();
  const reversed = record.migration?.direction === 'back' || (await wasReversed(files));
  expect(await isOfA(files, path), says).toBe(isSource && !reversed);
}

async function didFence(files: FileLayer): Promise<boolean> {
  return hasLine(files, (line) => line['event'] === 'finish' && line['step'] === 'fence');
}

async function wasReversed(files: FileLayer): Promise<boolean> {
  return hasLine(
    files,
    (line) => line['step'] === 'rollback-digest' && line['outcome'] === 'different',
  );
}

async function hasLine(
  files: FileLayer,
  fits: (line: Readonly<Record<string, unknown>>) => boolean,
): Promise<boolean> {
  return (await readJournal(files, recordStoreOf(files).directory.journal)).some(fits);
}

/** Every directory of the primary lies at its path or at its parked name. */
async function checkPrimary(files: FileLayer, record: BindingRecord): Promise<void> {
  const { primary, migration } = record;
  const tags = migration === null ? [] : [migration.sourceTag, migration.targetTag];
  for (const path of ownPaths(families, primary.uris)) {
    const kinds = [];
    for (const place of [path, ...tags.map((tag) => parkedName(path, tag))]) {
      kinds.push((await lookAt(files, place)).kind);
    }
    expect(kinds, `the primary's ${path}`).toContain('directory');
  }
}

/** The end, however it was come to. */
export async function checkEnd(files: FileLayer, expected: ExpectedEnd): Promise<void> {
  const record = await recordStoreOf(files).read();
  expect(record?.migration).toBeNull();
  expect(record?.lastEnded?.result).toBe(expected.result);
  expect(record?.primary).toEqual({ uris: expected.primary, parkedTag: null });
  expect(await dumpOf(files, expected.primary)).toEqual(expected.state);
  const away = pathsAway(expected.primary);
  for (const path of away) {
    const { kind } = await lookAt(files, path);
    expect(['fence', 'absent'], path).toContain(kind);
  }
}

function pathsAway(primary: InstanceUris): string[] {
  return ownPaths(families, primary.log === uriA.log ? uriB : uriA);
}

/**
 * Every name under the data directories; without what only an interrupted replacement of a file
 * leaves beside it, which nothing reads.
 */
export async function namesOf(files: FileLayer, root = '/data'): Promise<string[]> {
  const names = Object.keys(await treeOf(files, root));
  return names.filter((name) => !name.endsWith('.tmp')).toSorted();
}

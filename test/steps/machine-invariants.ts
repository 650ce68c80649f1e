/** What must hold on a machine at every moment of a migration, a crash being no exception. */
import { expect } from 'vitest';

import type { BindingRecord } from '../../schemas/binding-record.ts';
import type { InstanceUris } from '../../storage/contracts.ts';
import { lookAt } from '../../storage/binding/fence-file.ts';
import { readJournal, verifyJournal, type JournalLine } from '../../storage/binding/journal.ts';
import { readFence } from '../../storage/fence-text.ts';
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
  const lines = await checkJournal(files, record);
  await checkSource(look, record);
  if (record === null) return null;
  const past = pastOf(lines);
  for (const [i, path] of ownPaths(families, uriA).entries()) {
    const never = Object.keys(look.sourceBytes[i] ?? {}).length === 0;
    if (never) await checkUnusedPath(files, path);
    else await checkPath(files, { record, path, past });
  }
  for (const path of ownPaths(families, uriB)) await checkPath(files, { record, path, past });
  await checkPrimary(look, record);
  return record;
}

/** A line, durable before it, for each revision; the last line may be of one that never came. */
async function checkJournal(
  files: FileLayer,
  record: BindingRecord | null,
): Promise<readonly JournalLine[]> {
  const { journal } = recordStoreOf(files).directory;
  await verifyJournal(files, journal);
  const lines = await readJournal(files, journal);
  const revisions = new Set(lines.map((line) => line['revision']));
  for (let revision = 1; revision <= (record?.revision ?? 0); revision += 1) {
    if (!revisions.has(revision)) expect.fail(`no journal line of revision ${revision}`);
  }
  return lines;
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
    // Empty: a directory that A never had.
    const wanted = Object.keys(sourceBytes[i] ?? {}).length === 0 ? [] : [sourceBytes[i]];
    expect({ path, found }).toEqual({ path, found: wanted });
  }
}

function isOfA(files: FileLayer, directory: string): Promise<boolean> {
  return files.stat(`${directory}/${originName}`).then((stat) => stat !== null);
}

/** Never nothing, never another instance than the primary, never an unfinished one (CUT-7). */
async function checkPath(
  files: FileLayer,
  { record, path, past }: { record: BindingRecord; path: string; past: Past },
): Promise<void> {
  const found = await lookAt(files, path);
  if (found.kind === 'fence') return;
  const says = `${path} holds ${found.kind} at ${record.migration?.phase ?? 'the end'}`;
  const isSource = ownPaths(families, uriA).includes(path);
  // The target's path is reserved by the fence step, and by nothing where that never ended.
  const wasFenced = past.fenced && record.migration?.phase !== 'fence';
  if (found.kind === 'absent' && !isSource)
    return expect({ says, wasFenced }).toEqual({ says, wasFenced: false });
  const reversed = past.reversed && record.migration?.phase !== 'rollback-digest';
  expect({
    says,
    kind: found.kind,
    isPrimary: ownPaths(families, record.primary.uris).includes(path),
    marker: await files.stat(`${path}/${stagingMarkerName}`),
    isOfA: await isOfA(files, path),
  }).toEqual({
    says,
    kind: 'directory',
    isPrimary: true,
    marker: null,
    isOfA: isSource && !reversed,
  });
}

/**
 * Where A never had a directory: a fence, nothing, or what a rollback leaves, which braft makes
 * itself.
 */
async function checkUnusedPath(files: FileLayer, path: string): Promise<void> {
  const tree = await treeOf(files, path);
  if ((await lookAt(files, path)).kind !== 'fence')
    expect(['', '/']).toContain(Object.keys(tree).join(','));
}

/**
 * What the journal tells of the migration so far; the last line may be of a change that never
 * came.
 */
interface Past {
  readonly fenced: boolean;
  readonly reversed: boolean;
}

function pastOf(lines: readonly JournalLine[]): Past {
  const finished = lines.filter((line) => line['event'] === 'finish');
  return {
    fenced: finished.some((line) => line['step'] === 'fence'),
    reversed: finished.some(
      (line) => line['step'] === 'rollback-digest' && line['outcome'] === 'different',
    ),
  };
}

/** Every directory of the primary lies at its path or at its parked name. */
async function checkPrimary(look: LookAtMachine, record: BindingRecord): Promise<void> {
  const { files, sourceBytes } = look;
  const { primary, migration } = record;
  const tags = migration === null ? [] : [migration.sourceTag, migration.targetTag];
  for (const [i, path] of ownPaths(families, primary.uris).entries()) {
    const isA = primary.uris.log === uriA.log;
    if (isA && Object.keys(sourceBytes[i] ?? {}).length === 0) continue;
    const kinds = [];
    for (const place of [path, ...tags.map((tag) => parkedName(path, tag))]) {
      kinds.push((await lookAt(files, place)).kind);
    }
    expect({ path, there: kinds.includes('directory') }).toEqual({ path, there: true });
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
    expect({ path, away: kind === 'fence' || kind === 'absent' }).toEqual({ path, away: true });
    if (expected.result === 'finalized') await checkFenceSays(files, path);
  }
  await checkNothingUnfinished(files, expected);
}

/** Once finalized, a fence names the place where the source lies now, or says that it is gone. */
async function checkFenceSays(files: FileLayer, path: string): Promise<void> {
  const fence = await readFence(files, path);
  if (fence === null) return;
  const kind = (await lookAt(files, fence.parked)).kind;
  const wanted = fence.holds === 'directory' ? 'directory' : 'absent';
  expect({ path, fence, kind }).toEqual({ path, fence, kind: wanted });
}

/**
 * What killed attempts left of writing files is overwritten or removed by their successors; what a
 * killed validation left of its proof, by the next validation.
 */
async function checkNothingUnfinished(files: FileLayer, { result }: ExpectedEnd): Promise<void> {
  const names = Object.keys(await treeOf(files, '')).filter((name) => name.endsWith('.tmp'));
  // Rolled back, there may have been no next validation.
  const isAllowed = (name: string) => result === 'rolled-back' && name.includes('/proofs/');
  expect(names.filter((name) => !isAllowed(name))).toEqual([]);
  expect(names.length).toBeLessThan(2);
}

function pathsAway(primary: InstanceUris): string[] {
  return ownPaths(families, primary.log === uriA.log ? uriB : uriA);
}

/** Every name under the data directories. */
export async function namesOf(files: FileLayer, root = '/data'): Promise<string[]> {
  return Object.keys(await treeOf(files, root)).toSorted();
}

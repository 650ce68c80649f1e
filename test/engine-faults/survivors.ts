/** Looking at what a power loss or a failure left, through the public surface. */
import { deepStrictEqual } from 'node:assert/strict';

import { QuorumshiftError, type ErrorCode } from '../../core/errors.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { dumpState, type StateDump } from '../../storage/testing/state-dump.ts';
import { dumpModel, type StateModel } from '../../storage/testing/state-model.ts';
import { long } from './traced-process.ts';
import { importOnce } from './workloads.ts';

const families = defaultFamilies();
const context = { files: nodeFileLayer };

/** What opening finds: the whole state as read back, or the code of the refusal. */
export async function openedAt(uri: string): Promise<StateDump | ErrorCode> {
  try {
    const instance = await families.open(families.expand(uri), 'read-write', context);
    try {
      return await dumpState(instance);
    } finally {
      await instance.close();
    }
  } catch (error) {
    if (error instanceof QuorumshiftError && unfinished.includes(error.code)) return error.code;
    throw error;
  }
}

/**
 * RocksDB under a disk whose every sync fails during an opening: two MANIFESTs are left, and the
 * one that CURRENT names is gone. It is refused, with nothing lost.
 */
export async function lacksManifest(uri: string): Promise<boolean> {
  try {
    await openedAt(uri);
    return false;
  } catch (error) {
    return error instanceof Error && /MANIFEST-\d+: No such file/.test(error.message);
  }
}

/** The state must be one of these, from the first to the last bit. */
export function expectOneOf(
  found: StateDump | ErrorCode,
  allowed: readonly (StateModel | undefined)[],
): void {
  const dumps = allowed.flatMap((model) => (model === undefined ? [] : [dumpModel(model)]));
  const same = dumps.find((dump) => isSame(found, dump));
  if (same === undefined) deepStrictEqual(found, dumps[0]);
}

function isSame(found: StateDump | ErrorCode, expected: StateDump): boolean {
  try {
    deepStrictEqual(found, expected);
    return true;
  } catch {
    return false;
  }
}

/** How a place is refused that never became an instance. */
export const unfinished: readonly ErrorCode[] = ['instance.missing', 'instance.staging'];

/**
 * A place whose creation was not acknowledged: nothing, a staging place, or the empty instance, and
 * never in the way of the next attempt.
 */
export async function expectUnfinishedCreation(uri: string, empty: StateModel): Promise<void> {
  const found = await openedAt(uri);
  if (typeof found === 'object') return expectOneOf(found, [empty]);
  deepStrictEqual(unfinished.includes(found), true, `it is refused by ${found}`);
  const staging = await families.stage(families.expand(uri), context);
  await staging.publish();
  expectOneOf(await openedAt(uri), [empty]);
}

/** `count` of `1..total`, evenly spread, the last one among them. */
export function spread(total: number, count: number): number[] {
  const some = Math.min(total, count);
  return Array.from({ length: some }, (_, i) => Math.round(((i + 1) * total) / some));
}

/** Of this run; a failure names it. */
export const seed = Number(process.env['QUORUMSHIFT_SEED'] ?? Date.now() % 1_000_000);

/**
 * Calls `check` for some of the places `1..total`, or for all, ascending; a failure says where it
 * was. `dense` are places that are never left out.
 */
export async function atPlaces(
  options: { total: number; places: number; dense?: readonly number[]; after?: string },
  check: (k: number) => Promise<void>,
): Promise<void> {
  const { total, places, dense = [], after = '' } = options;
  const some = new Set([...spread(total, long ? total : places), ...dense]);
  for (const k of [...some].toSorted((a, b) => a - b)) {
    await inPlace(`${after} at place ${k} of ${total}`, () => check(k));
  }
}

/** Runs the check; a failure says where it was, and how to have it again. */
export async function inPlace(place: string, check: () => Promise<void>): Promise<void> {
  try {
    await check();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${place}, QUORUMSHIFT_SEED=${seed}: ${reason}`, { cause });
  }
}

/** How many mutations were acknowledged. */
export function appliedIn(told: readonly string[]): number {
  return told.filter((text) => text.startsWith('applied')).length;
}

/** Goes on with an import, in this process. */
export async function resumeImport(uri: string): Promise<void> {
  const uris = families.expand(uri);
  await importOnce({ family: families.familyOf(uris), uris, seed, tell: () => {} });
}

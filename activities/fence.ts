/**
 * The path fence (CUT-7): a parked instance's places hold files that say where it went; the
 * target's places are reserved by such files. One exchange at a time, each under the record's lock.
 */
import { fail } from '../core/errors.ts';
import { replicaText } from '../core/ids.ts';
import type { MigrationState } from '../schemas/binding-record.ts';
import {
  describe,
  lookAt,
  removeDraft,
  removeFence,
  writeFence,
} from '../storage/binding/fence-file.ts';
import { readFence, type Fence } from '../storage/fence-text.ts';
import { ownPaths } from '../storage/binding/parking.ts';
import {
  fencePath,
  isUntouched,
  parkedName,
  reservePath,
  unfencePath,
  type FencedPath,
  type FenceOwner,
} from '../storage/binding/path-fence.ts';
import type { InstanceUris } from '../storage/contracts.ts';
import type { FileLayer } from '../storage/file-layer.ts';
import type { Step, StepBody } from './step-runner.ts';

/** Fences the source and reserves the target's places. */
export const fence: StepBody = async (step) => {
  const { source, sourceTag, target, targetTag } = step.guard.migration;
  await fenceInstance(step, source.uris, sourceTag);
  await reserveInstance(step, target.uris, targetTag);
  return {
    outcome: 'done',
    info: { parkedUnder: sourceTag },
    change: (record, migration) => ({
      ...record,
      primary: { ...record.primary, parkedTag: sourceTag },
      migration: { ...migration, source: { ...migration.source, parkedTag: sourceTag } },
    }),
  };
};

/** Rollback after the swap: fences the target, so that its digest cannot be overtaken. */
export const fenceTarget: StepBody = async (step) => {
  const { target, targetTag } = step.guard.migration;
  await fenceInstance(step, target.uris, targetTag);
  return {
    outcome: 'done',
    info: { parkedUnder: targetTag },
    change: (record, migration) => ({
      ...record,
      primary: { ...record.primary, parkedTag: targetTag },
      migration: { ...migration, target: { ...migration.target, parkedTag: targetTag } },
    }),
  };
};

async function fenceInstance(step: Step, uris: InstanceUris, tag: string): Promise<void> {
  const { files } = step.context;
  for (const path of ownPaths(step.context.families, uris)) {
    const place = { path, parked: parkedName(path, tag) };
    await step.guard.effect(() => fencePath(files, place, ownerOf(step.guard.migration)));
  }
}

async function reserveInstance(step: Step, uris: InstanceUris, tag: string): Promise<void> {
  const { files, families } = step.context;
  for (const path of ownPaths(families, uris)) {
    const place = { path, parked: parkedName(path, tag) };
    await step.guard.effect(async () => {
      const owner = ownerOf(step.guard.migration);
      const present = await readFence(files, path);
      if (present !== null && isOfEnded(present, owner)) await pointFence(step, place);
      else await reservePath(files, place, owner);
    });
  }
}

/**
 * One migration owns a replica at a time, so that its fence of another one is of one that has
 * ended. What may still lie behind it (a target that a reversal left) stays under its parked name.
 */
function isOfEnded(present: Fence, owner: FenceOwner): boolean {
  return present.replica === owner.replica && present.migration !== owner.migration;
}

/** Makes the fences at an instance's places name its parked places of this tag; repeatable. */
export async function pointFences(step: Step, uris: InstanceUris, tag: string): Promise<void> {
  for (const path of ownPaths(step.context.families, uris)) {
    const place = { path, parked: parkedName(path, tag) };
    await step.guard.effect(() => pointFence(step, place));
  }
}

/**
 * @throws `fence.unexpected` when no fence is there: a fence is pointed, an instance never
 * replaced
 */
async function pointFence(
  step: Step,
  place: FencedPath,
  holds: Fence['holds'] = 'directory',
): Promise<void> {
  const { files } = step.context;
  const { path, parked } = place;
  const found = await lookAt(files, path);
  if (found.kind !== 'fence') throw fail('fence.unexpected', { path, actual: describe(found) });
  await writeFence(files, path, { ...ownerOf(step.guard.migration), parked, holds });
}

/** Makes the fences at an instance's places say what lies under this tag, be it nothing. */
export async function pointBack(step: Step, uris: InstanceUris, tag: string): Promise<void> {
  const { files, families } = step.context;
  for (const path of ownPaths(families, uris)) {
    const parked = parkedName(path, tag);
    await step.guard.effect(async () => {
      const lies = (await lookAt(files, parked)).kind === 'directory';
      await pointFence(step, { path, parked }, lies ? 'directory' : 'nothing');
    });
  }
}

/** Puts a parked instance to its places; the fences are removed from the parked names. */
export async function unfenceInstance(step: Step, uris: InstanceUris, tag: string): Promise<void> {
  const { files, families } = step.context;
  for (const path of ownPaths(families, uris)) {
    const place = { path, parked: parkedName(path, tag) };
    await step.guard.effect(() => unfenceOne(files, place));
  }
}

async function unfenceOne(files: FileLayer, place: FencedPath): Promise<void> {
  await unfencePath(files, place);
  await removeFence(files, place.parked);
}

/**
 * Rollback: the source comes back to its places. `wasFenced` false: the fencing never ended, and a
 * place where nothing was may have no fence yet.
 */
export async function restoreInstance(
  step: Step,
  instance: { readonly uris: InstanceUris; readonly tag: string; readonly wasFenced: boolean },
): Promise<void> {
  const { files, families } = step.context;
  for (const path of ownPaths(families, instance.uris)) {
    const place = { path, parked: parkedName(path, instance.tag) };
    await step.guard.effect(async () => {
      await removeDraft(files, place.parked);
      const untouched = !instance.wasFenced && (await isUntouched(files, place));
      if (!untouched) await unfenceOne(files, place);
      else if ((await files.stat(place.parked)) !== null) await removeFence(files, place.parked);
    });
  }
}

function ownerOf(migration: MigrationState) {
  return { replica: replicaText(migration.input.replica), migration: migration.id };
}

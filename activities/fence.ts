/**
 * The path fence (CUT-7): a parked instance's places hold files that say where it went; the
 * target's places are reserved by such files. One exchange at a time, each under the record's lock.
 */
import { replicaText } from '../core/ids.ts';
import type { MigrationState } from '../schemas/binding-record.ts';
import { readFence, writeFence } from '../storage/binding/fence-file.ts';
import { ownPaths } from '../storage/binding/parking.ts';
import { fencePath, parkedName, reservePath, unfencePath } from '../storage/binding/path-fence.ts';
import { removeFence } from '../storage/binding/fence-file.ts';
import type { InstanceUris } from '../storage/contracts.ts';
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
      const isLeftover =
        present !== null &&
        present.parked !== place.parked &&
        (await files.stat(present.parked)) === null;
      // The fence of a migration that has ended: nothing lies behind it any more.
      if (isLeftover) {
        await writeFence(files, path, { ...owner, parked: place.parked, holds: 'directory' });
      } else await reservePath(files, place, owner);
    });
  }
}

/** Makes the fences at an instance's places name another parked place than before. */
export async function pointFences(step: Step, uris: InstanceUris, tag: string): Promise<void> {
  const { files, families } = step.context;
  for (const path of ownPaths(families, uris)) {
    const owner = ownerOf(step.guard.migration);
    await step.guard.effect(() =>
      writeFence(files, path, { ...owner, parked: parkedName(path, tag), holds: 'directory' }),
    );
  }
}

/** Puts a parked instance to its places; the fences are removed from the parked names. */
export async function unfenceInstance(step: Step, uris: InstanceUris, tag: string): Promise<void> {
  const { files, families } = step.context;
  for (const path of ownPaths(families, uris)) {
    const place = { path, parked: parkedName(path, tag) };
    await step.guard.effect(async () => {
      await unfencePath(files, place);
      await removeFence(files, place.parked);
    });
  }
}

function ownerOf(migration: MigrationState) {
  return { replica: replicaText(migration.input.replica), migration: migration.id };
}

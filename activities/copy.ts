/**
 * Exports the parked source into the staging place of the target, directly, without an image
 * between them. A killed attempt's work is continued from its last checkpoint. Staging belongs to
 * one attempt by its lock: while a stalled one holds it, this attempt begins a new place (BOOT-4).
 */
import { fail, hasCode, QuorumshiftError, messageOf } from '../core/errors.ts';
import { replicaText } from '../core/ids.ts';
import type { Instance, StagingInstance } from '../storage/contracts.ts';
import { parkedUris, urisNow } from '../storage/binding/parking.ts';
import { copyState } from '../storage/image/copy-state.ts';
import { checkState } from './state-checks.ts';
import { stateBytes } from './state-size.ts';
import { underControl } from './bulk-work.ts';
import { withdraw } from './discard.ts';
import { pointFences } from './fence.ts';
import type { Step, StepBody } from './step-runner.ts';

export const copy: StepBody = async (step) => {
  const { files, families } = step.context;
  const source = await families.open(urisNow(families, step.guard.migration.source), 'read-only', {
    files,
    readsAll: true,
  });
  try {
    await checkSource(step, source);
    // What the replica had there before it was migrated is older than what moves back now.
    const { direction, target } = step.guard.migration;
    if (direction === 'back') await withdraw(step, target.uris);
    const { staging, tag } = await stageTarget(step);
    try {
      const bytesTotal = await stateBytes(source);
      await underControl(step, { bytesTotal }, (options) => copyState(source, staging, options));
    } finally {
      await staging.close();
    }
    const { firstIndex, lastIndex } = source.state();
    return {
      outcome: 'done',
      info: { firstIndex: String(firstIndex), lastIndex: String(lastIndex), place: tag },
    };
  } finally {
    await source.close();
  }
};

/**
 * A running replica could not be read before it was stopped: what preflight did not see is checked
 * here, before anything is copied.
 * @throws `preflight.failed`: an operator decides, and may roll back
 */
async function checkSource(step: Step, source: Instance): Promise<void> {
  const { input, target } = step.guard.migration;
  const { families } = step.context;
  try {
    await checkState(source, [families.familyOf(source.uris), families.familyOf(target.uris)]);
  } catch (cause) {
    if (cause instanceof QuorumshiftError) throw cause;
    const summary = messageOf(cause);
    throw fail('preflight.failed', { replica: replicaText(input.replica), summary }, { cause });
  }
}

/** The target's staging place; a new one when a late attempt still holds it. */
async function stageTarget(step: Step): Promise<{ staging: StagingInstance; tag: string }> {
  const { guard } = step;
  const { targetTag, target } = guard.migration;
  // A killed attempt may have named this place in the record, and not yet in the fences.
  await pointFences(step, target.uris, targetTag);
  const staging = await tryStage(step, targetTag);
  if (staging !== 'locked') return { staging, tag: targetTag };
  const { lease, step: number, attempt } = guard.record.token;
  const tag = `${guard.migration.id}-target-${lease}_${number}_${attempt}`;
  const why = 'a late attempt held its lock';
  await guard.note(
    {
      targetTag: tag,
      target: { ...target, parkedTag: tag },
      leftAside: [
        ...guard.migration.leftAside,
        { kind: 'staging', uris: target.uris, tag: targetTag, why },
      ],
    },
    { event: 'new-staging-place', by: guard.migration.claim, details: { left: targetTag, why } },
  );
  await pointFences(step, target.uris, tag);
  const fresh = await tryStage(step, tag);
  if (fresh === 'locked') throw new Error(`a staging place made now is locked: ${tag}`);
  return { staging: fresh, tag };
}

async function tryStage(step: Step, tag: string): Promise<StagingInstance | 'locked'> {
  const { files, families } = step.context;
  const uris = parkedUris(families, step.guard.migration.target.uris, tag);
  try {
    // Making the place is a change of names: only the newest attempt may.
    return await step.guard.effect(() => families.stage(uris, { files }));
  } catch (error) {
    if (hasCode(error, 'instance.locked')) return 'locked';
    throw error;
  }
}

/**
 * A reversal that is given up before its swap: the replica stays on the target, which lies whole
 * behind its fences, if nothing has changed there since. What had been copied back is discarded;
 * the source from before the cutover is kept until finalize, as before the rollback.
 */
import { assert } from '../core/errors.ts';
import type { LeftAside, MigrationState } from '../schemas/binding-record.ts';
import { digestNow } from './digest-again.ts';
import { discardPlace, discardStaging, withdraw } from './discard.ts';
import { pointBack } from './fence.ts';
import { withFreshTarget } from './fresh-target.ts';
import type { StepBody } from './step-runner.ts';

/** In a reversal the source is what the replica ran on: the target of the migration. */
export const forwardDigest: StepBody = async (step) => {
  const { migration } = step.guard;
  const fenced = sinceFenced(migration)[0]?.info['digest'];
  const digest = await digestNow(step, migration.source);
  if (digest === fenced) return { outcome: 'done', info: { digest } };
  const reason = 'the target changed after it was fenced: the reversal goes on';
  return {
    outcome: 'different',
    info: { digest, fenced: fenced ?? null, reason },
    change: (record, state) => ({ ...record, migration: withFreshTarget(record, state) }),
  };
};

export const forwardRestore: StepBody = async (step) => {
  const { migration } = step.guard;
  const kept = sourceAside(migration);
  await pointBack(step, kept.uris, kept.tag);
  // Copying has taken away what the source had at shared places; before that it is the source's.
  const copied = sinceFenced(migration).some(({ did }) => did === 'copy');
  if (copied) await withdraw(step, migration.target.uris);
  await discardPlace(step, migration.target.uris, migration.targetTag);
  const ending = await discardStaging(step, { discarded: migration.targetTag });
  return {
    ...ending,
    change: (record, state) => {
      const after = ending.change?.(record, state) ?? record;
      assert(after.migration !== null, 'what was discarded is its migration’s');
      return {
        ...after,
        generation: record.generation + 1,
        migration: forwardAgain(after.migration, kept),
      };
    },
  };
};

function forwardAgain(migration: MigrationState, kept: LeftAside): MigrationState {
  return {
    ...migration,
    direction: 'forward',
    source: { uris: kept.uris, parkedTag: kept.tag },
    sourceTag: kept.tag,
    target: migration.source,
    targetTag: migration.sourceTag,
    proof: null,
    rollback: null,
    leftAside: migration.leftAside.filter(({ tag }) => tag !== kept.tag),
  };
}

/** The results of the reversal under way, with that of the target's digest first. */
function sinceFenced({ results }: MigrationState): MigrationState['results'] {
  return results.slice(results.findLastIndex(({ did }) => did === 'rollback-digest'));
}

/** The source from before the cutover, as `rollback-digest` set it aside. */
function sourceAside({ leftAside, id }: MigrationState): LeftAside {
  const kept = leftAside.find(({ tag }) => tag === `${id}-source`);
  assert(kept !== undefined, 'a reversal has set the source aside');
  return kept;
}

/**
 * Validates the published target: both instances are read back wholly and compared (EQ-3). Equal:
 * the proof file is durable before the record names it. Different: a report is kept, and the record
 * says in the same write that the migration rolls back.
 */
import { join } from 'node:path';

import { exitCodes } from '../core/error-registry.ts';
import { QuorumshiftError } from '../core/errors.ts';
import { urisNow } from '../storage/binding/parking.ts';
import type { StepEnding } from '../storage/binding/step-guard.ts';
import { compareInstances } from '../storage/equivalence/compare.ts';
import { makeProof, writeProof, writeReport } from '../storage/equivalence/proof.ts';
import { underControl } from './bulk-work.ts';
import { withFreshTarget } from './fresh-target.ts';
import { stateBytes } from './state-size.ts';
import type { Step, StepBody } from './step-runner.ts';

export const validate: StepBody = async (step) => {
  let comparison: Comparison;
  try {
    comparison = await compareBoth(step);
  } catch (error) {
    if (!(error instanceof QuorumshiftError) || error.definition.exitCode !== exitCodes.corrupt) {
      throw error;
    }
    // What cannot be read back is not equal: the source, fenced since, goes back as it was.
    return rollBack(step, { report: null }, `validation failed: ${error.message}`);
  }
  return comparison.equal ? prove(step, comparison) : reportDifference(step, comparison.report);
};

/** @throws the codes of unreadable state, among others */
async function compareBoth(step: Step): Promise<Comparison> {
  const { files, families } = step.context;
  const { source, target } = step.guard.migration;
  const a = await families.open(urisNow(families, source), 'read-only', { files, readsAll: true });
  try {
    const b = await families.open(urisNow(families, target), 'read-only', {
      files,
      readsAll: true,
    });
    try {
      const bytesTotal = 2 * (await stateBytes(a));
      return await underControl(step, { bytesTotal }, (options) => compareInstances(a, b, options));
    } finally {
      await b.close();
    }
  } finally {
    await a.close();
  }
}

type Comparison = Awaited<ReturnType<typeof compareInstances>>;

async function prove(
  step: Step,
  comparison: Extract<Comparison, { equal: true }>,
): Promise<StepEnding> {
  const { record, migration } = step.guard;
  const { generation } = record;
  const file = `${migration.id}-${generation}-${record.token.lease}_${record.token.step}.json`;
  const proof = makeProof({
    migrationId: migration.id,
    generation,
    source: { uris: migration.source.uris, digest: comparison.a },
    target: { uris: migration.target.uris, digest: comparison.b },
    createdAt: step.store.now(),
  });
  const path = join(step.store.directory.proofs, file);
  await step.guard.effect(async () => {
    await removeUnfinished(step);
    await writeProof(step.context.files, path, proof);
  });
  const digest = comparison.a.root;
  return {
    outcome: 'done',
    info: { proof: digest, file },
    change: (current, state) => ({
      ...current,
      migration: { ...state, proof: { file, digest, generation } },
    }),
  };
}

async function reportDifference(
  step: Step,
  report: Extract<Comparison, { equal: false }>['report'],
): Promise<StepEnding> {
  const { record, migration } = step.guard;
  const file = `${migration.id}-${record.generation}-difference.json`;
  const path = join(step.store.directory.proofs, file);
  await step.guard.effect(async () => {
    await removeUnfinished(step);
    await writeReport(step.context.files, path, report);
  });
  return rollBack(step, { report: file }, `validation failed: ${report.summary}`);
}

/**
 * What killed attempts left of writing here: each attempt's file has a name of its own, which no
 * other would overwrite. Under the lock nobody is writing.
 */
async function removeUnfinished({ context, store }: Step): Promise<void> {
  const { proofs } = store.directory;
  for (const name of await context.files.list(proofs)) {
    if (name.endsWith('.tmp')) await context.files.removeFile(join(proofs, name));
  }
}

/** In characters: the reason is in the record, the journal and the workflow's result. */
const longestReason = 1000;

/** Ends the step with the decision to roll back; in a reversal, to copy again. */
function rollBack(step: Step, info: StepEnding['info'], said: string): StepEnding {
  const reason = said.slice(0, longestReason);
  return {
    outcome: 'different',
    info: { ...info, reason },
    change: (current, state) => ({
      ...current,
      migration: {
        ...(state.direction === 'back' ? withFreshTarget(current, state) : state),
        rollback: state.rollback ?? { by: 'quorumshift', reason, at: step.store.now() },
      },
    }),
  };
}

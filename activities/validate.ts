/**
 * Validates the published target: both instances are read back wholly and compared (EQ-3). Equal:
 * the proof file is durable before the record names it. Different: a report is kept, and the record
 * says in the same write that the migration rolls back.
 */
import { join } from 'node:path';

import { urisNow } from '../storage/binding/parking.ts';
import type { StepEnding } from '../storage/binding/ownership.ts';
import { compareInstances } from '../storage/equivalence/compare.ts';
import { makeProof, writeProof } from '../storage/equivalence/proof.ts';
import { writeDurably } from '../storage/files.ts';
import { underControl } from './bulk-work.ts';
import { withFreshTarget } from './fresh-target.ts';
import { stateBytes } from './state-size.ts';
import type { Step, StepBody } from './step-runner.ts';

export const validate: StepBody = async (step) => {
  const { files, families } = step.context;
  const { source, target } = step.guard.migration;
  const a = await families.open(urisNow(families, source), 'read-only', { files });
  try {
    const b = await families.open(urisNow(families, target), 'read-only', { files });
    try {
      const bytesTotal = 2 * (await stateBytes(a));
      const comparison = await underControl(step, { bytesTotal }, (options) =>
        compareInstances(a, b, options),
      );
      return await (comparison.equal
        ? prove(step, comparison)
        : reportDifference(step, comparison.report));
    } finally {
      await b.close();
    }
  } finally {
    await a.close();
  }
};

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
  await step.guard.effect(() => writeProof(step.context.files, path, proof));
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
  const bytes = Buffer.from(`${JSON.stringify(report, null, 2)}\n`);
  await step.guard.effect(() => writeDurably(step.context.files, path, bytes));
  const reason = `validation failed: ${report.summary}`.slice(0, 1000);
  return {
    outcome: 'different',
    info: { report: file, reason },
    change: (current, state) => ({
      ...current,
      migration: {
        ...(state.direction === 'back' ? withFreshTarget(current, state) : state),
        rollback: state.rollback ?? { by: 'quorumshift', reason, at: step.store.now() },
      },
    }),
  };
}

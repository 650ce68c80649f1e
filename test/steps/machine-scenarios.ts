/** Small replicas and the ways in which their migrations go, for the tests of a machine's steps. */
import type { AgentContext } from '../../activities/agent-context.ts';
import type { Phase } from '../../core/phases.ts';
import type { MigrationInput } from '../../schemas/migration.ts';
import type { InstanceUris } from '../../storage/contracts.ts';
import type { FileLayer } from '../../storage/file-layer.ts';
import { makeDirectories, writeDurably } from '../../storage/files.ts';
import { appendOf, snapshotOf, voteA } from '../../storage/testing/conformance-env.ts';
import { dumpState, type StateDump } from '../../storage/testing/state-dump.ts';
import {
  applyToInstance,
  applyToModel,
  dumpModel,
  emptyModel,
  type ModelMutation,
} from '../../storage/testing/state-model.ts';
import { ownPaths } from '../../storage/binding/parking.ts';
import { families, migrationInput, type Scenario } from './machine-driver.ts';

const history: readonly ModelMutation[] = [
  { ...appendOf(0n, 9, 1n), meta: { term: 2n, votedFor: voteA } },
  { snapshot: snapshotOf(4n, 'four'), truncate: { firstKept: 3n } },
];

/** What the replica writes on the target. */
const written: ModelMutation = { ...appendOf(9n, 2, 3n), meta: { term: 3n } };

/**
 * What lies in every directory of the first source, and braft ignores: it tells A from all others.
 */
export const originName = 'origin';

export const uriA = families.expand('local:///data/a');
export const uriB = families.expand('local:///data/b');

export const stateBefore: StateDump = dumpModel(history.reduce(applyToModel, emptyModel));
export const stateWritten: StateDump = dumpModel(
  [...history, written].reduce(applyToModel, emptyModel),
);

function localDirectory(uri: string): string {
  return uri.replace('local://', '');
}

/** A replica at {@link uriA}, closed and durable. */
export async function makeSource(
  files: FileLayer,
  options: { uris?: InstanceUris; snapshot?: boolean } = {},
): Promise<void> {
  const { uris = uriA } = options;
  for (const path of ownPaths(families, uris)) await makeDirectories(files, path);
  const instance = await families.open(uris, 'create', { files });
  for (const mutation of options.snapshot === false ? history.slice(0, 1) : history) {
    await applyToInstance(instance, mutation);
  }
  await instance.close();
  if (options.snapshot === false) await files.removeDirectory(localDirectory(uris.snapshot));
  for (const path of ownPaths(families, uris)) {
    if ((await files.stat(path)) === null) continue;
    await writeDurably(files, `${path}/${originName}`, Buffer.from('A'));
  }
}

/** The replica's process at work on `uris`; its second run changes nothing. */
export function writesAt(uris: InstanceUris): (context: AgentContext) => Promise<void> {
  return async ({ files }) => {
    const instance = await families.open(uris, 'read-write', { files });
    try {
      const { lastIndex } = instance.state();
      if (lastIndex === 9n) await applyToInstance(instance, written);
    } finally {
      await instance.close();
    }
  };
}

export async function dumpOf(files: FileLayer, uris: InstanceUris): Promise<StateDump> {
  const instance = await families.open(uris, 'read-only', { files });
  try {
    return await dumpState(instance);
  } finally {
    await instance.close();
  }
}

export interface ExpectedEnd {
  readonly result: 'finalized' | 'rolled-back';
  readonly primary: InstanceUris;
  readonly state: StateDump;
}

export interface ExpectedScenario extends Scenario {
  /** The first call before which it went otherwise than the scenarios above it. */
  readonly ownFrom?: Phase | 'rollback' | 'forward';
  readonly expected: ExpectedEnd;
}

const input = migrationInput('m1', { source: uriA, target: uriB });
const replacement: MigrationInput = {
  ...migrationInput('m1', { source: uriA, target: uriA }),
  mode: 'binary',
};
const backAtA: ExpectedEnd = { result: 'rolled-back', primary: uriA, state: stateBefore };

export const scenarios: readonly ExpectedScenario[] = [
  {
    name: 'a migration to the end',
    input,
    expected: { result: 'finalized', primary: uriB, state: stateBefore },
  },
  {
    name: 'a replacement of the program',
    input: replacement,
    expected: { result: 'finalized', primary: uriA, state: stateBefore },
  },
  {
    name: 'a replacement of the program that is put back',
    input: replacement,
    rollbackAt: 'soak',
    ownFrom: 'rollback',
    expected: backAtA,
  },
  {
    name: 'a migration that deletes its source at the end',
    input: migrationInput('m1', { source: uriA, target: uriB, deleteSource: true }),
    duringSoak: writesAt(uriB),
    ownFrom: 'finalize',
    expected: { result: 'finalized', primary: uriB, state: stateWritten },
  },
  {
    name: 'a rollback before the fence',
    input,
    rollbackAt: 'fence',
    ownFrom: 'rollback',
    expected: backAtA,
  },
  {
    name: 'a rollback before the swap',
    input,
    rollbackAt: 'swap',
    ownFrom: 'rollback',
    expected: backAtA,
  },
  {
    name: 'a rollback after the swap, the target being as it was proven',
    input,
    rollbackAt: 'soak',
    ownFrom: 'rollback',
    expected: backAtA,
  },
  {
    name: 'a reversal: a rollback after the replica has written to the target',
    input,
    rollbackAt: 'soak',
    ownFrom: 'rollback',
    duringSoak: writesAt(uriB),
    expected: { result: 'rolled-back', primary: uriA, state: stateWritten },
  },
  {
    name: 'a reversal that goes forward again before its first copy',
    input,
    rollbackAt: 'soak',
    forwardAt: 'copy',
    ownFrom: 'forward',
    duringSoak: writesAt(uriB),
    expected: { result: 'finalized', primary: uriB, state: stateWritten },
  },
  {
    name: 'a reversal that goes forward again just before its swap',
    input,
    rollbackAt: 'soak',
    forwardAt: 'swap',
    ownFrom: 'forward',
    duringSoak: writesAt(uriB),
    expected: { result: 'finalized', primary: uriB, state: stateWritten },
  },
];

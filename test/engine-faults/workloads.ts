/**
 * What the processes under test do with one place, telling of everything that was acknowledged. A
 * test knows from the same seed which states are allowed after what was told.
 */
import { createHash } from 'node:crypto';

import { copyState } from '../../storage/image/copy-state.ts';
import { hasCode } from '../../core/errors.ts';
import type { Family, Instance, InstanceUris, StagingInstance } from '../../storage/contracts.ts';
import type { LogEntry } from '../../storage/entry-batch.ts';
import { memoryFamily } from '../../storage/families/memory/family.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { appendOf, snapshotOf, voteA } from '../../storage/testing/conformance-env.ts';
import { seededRandom } from '../../storage/testing/seeded-random.ts';
import { dumpState, type StateDump } from '../../storage/testing/state-dump.ts';
import {
  applyToInstance,
  applyToModel,
  emptyModel,
  lastOf,
  type ModelMutation,
  type StateModel,
} from '../../storage/testing/state-model.ts';
import { seededSteps } from '../families/killed-writer.ts';

export interface Subject {
  readonly family: Family;
  readonly uris: InstanceUris;
  readonly seed: number;
  readonly tell: (text: string) => void;
}

/** What a life has in hands, for whoever looks after it when it failed. */
export interface LifeHandle {
  instance: Instance | null;
  /** Mutations acknowledged; null before the instance was created. */
  applied: number | null;
}

const context = { files: nodeFileLayer };

/** Mutations of a life: each kind occurs about once or more. */
const lifeSteps = 14;
/** After so many it is closed and opened again: engines tidy up then. */
const stepsBeforeReopen = 8;

/**
 * The mutations of a life. A large one makes the engines move what they have logged: RocksDB
 * writes a table after 8 MiB, SQLite a checkpoint after 1,000 pages of 16 KiB.
 */
export function lifeMutations(seed: number, largeBytes = 0): ModelMutation[] {
  const mutations: ModelMutation[] = [];
  for (const { mutation, model } of seededSteps(seed)) {
    mutations.push(mutation);
    if (mutations.length < lifeSteps) continue;
    const present = model.snapshot?.meta.lastIncludedIndex ?? 0n;
    const last = lastOf(model);
    mutations.push({ snapshot: snapshotOf(last > present ? last : present, 'of every life') });
    if (largeBytes > 0) mutations.push(largeAppend(model, { seed, bytes: largeBytes }));
    const term = model.meta.term + 1n;
    mutations.push({ meta: { term, votedFor: voteA } });
    return mutations;
  }
  return mutations;
}

function largeAppend(model: StateModel, options: { seed: number; bytes: number }): ModelMutation {
  const after = lastOf(model);
  return { entries: { after, list: incompressible({ after, ...options }) } };
}

const largePayloadBytes = 256 * 1024;

function incompressible(options: { after: bigint; seed: number; bytes: number }): LogEntry[] {
  const random = seededRandom(options.seed);
  return Array.from({ length: Math.ceil(options.bytes / largePayloadBytes) }, (_, i) => {
    const words = Uint32Array.from({ length: largePayloadBytes / 4 }, () => random.below(2 ** 32));
    const index = options.after + BigInt(i) + 1n;
    return { index, term: 1n, type: 2, payload: Buffer.from(words.buffer) };
  });
}

/** The states of a life: before the first mutation, and after each. */
export function lifeModels(mutations: readonly ModelMutation[]): StateModel[] {
  const models = [emptyModel];
  for (const mutation of mutations) {
    models.push(applyToModel(models.at(-1) ?? emptyModel, mutation));
  }
  return models;
}

/** Creates an instance and applies the mutations; tells "created" and "applied <n>". */
export async function live(
  { family, uris, tell }: Subject,
  mutations: readonly ModelMutation[],
  handle: LifeHandle = { instance: null, applied: null },
): Promise<void> {
  handle.instance = await family.open(uris, 'create', context);
  handle.applied = 0;
  tell('created');
  for (const mutation of mutations) {
    if (handle.applied === stepsBeforeReopen) {
      const { instance } = handle;
      handle.instance = null;
      await instance.close();
      handle.instance = await family.open(uris, 'read-write', context);
    }
    await applyToInstance(handle.instance, mutation);
    handle.applied += 1;
    tell(`applied ${handle.applied}`);
  }
  const { instance } = handle;
  handle.instance = null;
  await instance.close();
  tell('closed');
}

/** Opens what is there, tells "opened <state>", and ends without closing. */
export async function reopen({ family, uris, tell }: Subject): Promise<void> {
  const instance = await family.open(uris, 'read-write', context);
  tell(`opened ${stateText(await dumpState(instance))}`);
}

/** A whole state in short: no two states of a test have the same. */
export function stateText({ firstIndex, lastIndex, ...rest }: StateDump): string {
  const digest = createHash('sha256').update(JSON.stringify(rest)).digest('hex').slice(0, 16);
  return `${firstIndex}..${lastIndex} ${rest.meta} ${digest}`;
}

/** What an import brings: above RocksDB's 8 MiB, in several checkpoints, with a snapshot. */
export function importedModel(seed: number): StateModel {
  const known = importedModels.get(seed) ?? makeImportedModel(seed);
  importedModels.set(seed, known);
  return known;
}

const importedModels = new Map<number, StateModel>();

function makeImportedModel(seed: number): StateModel {
  const start = applyToModel(emptyModel, { ...appendOf(0n, 40), meta: { term: 2n } });
  const large = applyToModel(start, largeAppend(start, { seed, bytes: 9 * 1024 * 1024 }));
  const cut = { snapshot: snapshotOf(7n, 'seven'), truncate: { firstKept: 5n } };
  return applyToModel(large, cut);
}

const bytesBetweenCheckpoints = 1024 * 1024;

/**
 * Imports it, or goes on with that, and opens the result once; tells "copied", "published" and
 * "opened". What was told is acknowledged.
 */
export async function importOnce({ family, uris, seed, tell }: Subject): Promise<void> {
  const staging = await family.stage(uris, context);
  const source = await importSource(seed);
  try {
    await copyState(source, staging, { checkpointBytes: bytesBetweenCheckpoints });
    tell('copied');
    await staging.publish();
  } catch (error) {
    tell(`import failed ${await stillTaken(staging)}`);
    throw error;
  } finally {
    await staging.close();
    await source.close();
  }
  tell('published');
  const instance = await family.open(uris, 'read-write', context);
  tell('opened');
  await instance.close();
}

/** Whether the staging place goes on as if nothing had failed. */
async function stillTaken(staging: StagingInstance): Promise<string> {
  try {
    await staging.setMeta(emptyModel.meta);
    return 'and takes more';
  } catch (error) {
    return hasCode(error, 'instance.poisoned') ? 'and is closed to more' : String(error);
  }
}

let sources = 0;

async function importSource(seed: number): Promise<Instance> {
  const uris = memoryFamily.expand(`memory://source-${++sources}`);
  const instance = await memoryFamily.open(uris, 'create', context);
  const { entries, meta, snapshot, firstIndex } = importedModel(seed);
  await applyToInstance(instance, {
    reset: firstIndex,
    ...(snapshot && { snapshot }),
    entries: { after: firstIndex - 1n, list: entries },
    meta: { term: meta.term },
  });
  return instance;
}

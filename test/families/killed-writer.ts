/**
 * A process that applies a seeded sequence of mutations for ever, and prints the number of each
 * once it is acknowledged. The test kills it and computes the same sequence.
 */
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { entriesOf, snapshotOf } from '../../storage/testing/conformance-env.ts';
import { seededRandom } from '../../storage/testing/seeded-random.ts';
import {
  applyToInstance,
  applyToModel,
  emptyModel,
  lastOf,
  type ModelMutation,
  type StateModel,
} from '../../storage/testing/state-model.ts';

export interface Step {
  readonly mutation: ModelMutation;
  readonly model: StateModel;
}

/** The states after each mutation. */
export function* seededSteps(seed: number): Generator<Step> {
  const random = seededRandom(seed);
  let model = emptyModel;
  for (;;) {
    const mutation = nextMutation(model, random.below(10), BigInt(random.below(6) + 1));
    model = applyToModel(model, mutation);
    yield { mutation, model };
  }
}

function nextMutation(model: StateModel, kind: number, count: bigint): ModelMutation {
  const after = lastOf(model);
  const middle = (model.firstIndex + after) / 2n;
  const term = model.meta.term + 1n;
  if (kind === 0 && after > model.firstIndex) return { truncate: { firstKept: middle } };
  if (kind === 1 && after > model.firstIndex) {
    const entries = { after: middle, list: entriesOf(middle + 1n, middle + count, term) };
    return { truncate: { lastKept: middle }, entries, meta: { term } };
  }
  const present = model.snapshot?.meta.lastIncludedIndex ?? 0n;
  const index = after > present ? after : present;
  if (kind === 2) return { snapshot: snapshotOf(index, `at ${index} in term ${term}`) };
  if (kind === 3) return { reset: after + count };
  return { entries: { after, list: entriesOf(after + 1n, after + count * 10n, term) } };
}

async function run(uri: string, seed: number): Promise<void> {
  const families = defaultFamilies();
  const instance = await families.open(families.expand(uri), 'create', { files: nodeFileLayer });
  let done = 0;
  for (const { mutation } of seededSteps(seed)) {
    await applyToInstance(instance, mutation);
    done += 1;
    process.stdout.write(`${done}\n`);
  }
}

const [, script, uri, seed] = process.argv;
if (script !== undefined && import.meta.url.endsWith(script) && uri !== undefined) {
  await run(uri, Number(seed));
}

import { setImmediate } from 'node:timers/promises';

import { describe, expect, test } from 'vitest';

import { hasCode } from '../../core/errors.ts';
import { ServedReplica } from '../../host/served-replica.ts';
import { digestInstance } from '../../storage/equivalence/state-digest.ts';
import { FamilyRegistry } from '../../storage/family-registry.ts';
import { createLocalFamily } from '../../storage/families/local/family.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { moves } from '../../storage/testing/conformance-pairs.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { seededRandom, type SeededRandom } from '../../storage/testing/seeded-random.ts';
import { dumpState } from '../../storage/testing/state-dump.ts';
import {
  applyToModel,
  dumpModel,
  emptyModel,
  prepareSnapshot,
  type ModelMutation,
  type StateModel,
} from '../../storage/testing/state-model.ts';
import { batchOf } from '../../storage/entry-batch.ts';
import { slowFiles } from '../replication/slow-files.ts';

const families = new FamilyRegistry([createLocalFamily({ maxSegmentBytes: 400 })]);
const firstSeed = Number(process.env['SEED'] ?? 1);
const lives = process.env['QUORUMSHIFT_LONG'] === '1' ? 1000 : 40;
const cutovers = 4;

/** Legal mutations, one after the other, until it is told to stop. */
class Writer {
  readonly #served: ServedReplica;
  readonly #random: SeededRandom;
  #stopped = false;
  #hasFailed = false;
  model: StateModel = emptyModel;
  writes = 0;

  constructor(served: ServedReplica, random: SeededRandom) {
    this.#served = served;
    this.#random = random;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Resolves after this many writes more. */
  async wrote(more: number): Promise<void> {
    const wanted = this.writes + more;
    while (this.writes < wanted && !this.#hasFailed) await setImmediate();
  }

  async run(): Promise<void> {
    try {
      await this.#write();
    } catch (error) {
      this.#hasFailed = true;
      throw error;
    }
  }

  async #write(): Promise<void> {
    const { epoch } = await this.#served.open({ opener: '', resumes: 0n });
    while (!this.#stopped) {
      const mutation = this.#move();
      const { snapshot, entries, ...rest } = mutation;
      const prepared =
        snapshot &&
        (await prepareSnapshot(
          { snapshots: { begin: (meta) => this.#served.beginSnapshot(epoch, meta) } },
          snapshot,
        ));
      await this.#served.apply(epoch, {
        ...rest,
        ...(prepared && { snapshot: prepared }),
        ...(entries && { entries: { after: entries.after, batches: [batchOf(entries.list)] } }),
      });
      this.model = applyToModel(this.model, mutation);
      this.writes += 1;
      // The file layer answers within the same turn: others must have theirs.
      if (this.#random.below(5) === 0) await setImmediate();
    }
  }

  /** As a new leader does: its entries in place of the last ones. */
  #replaceTail(): ModelMutation {
    const { entries, firstIndex, meta } = this.model;
    const lastKept = firstIndex + BigInt(entries.length) - 3n;
    const term = meta.term + 1n;
    const list = entriesOf(lastKept + 1n, lastKept + 2n, term);
    return { truncate: { lastKept }, entries: { after: lastKept, list }, meta: { term } };
  }

  /** Mostly appends, as a log has; now and then anything else. */
  #move(): ModelMutation {
    const append = moves['append of several entries'](this.model);
    const kind = this.#random.below(100);
    if (kind < 90 || this.model.entries.length < 3) return append;
    if (kind < 96) return this.#replaceTail();
    const all = Object.values(moves);
    const mutation: ModelMutation = all[this.#random.below(all.length)]?.(this.model) ?? append;
    return mutation.reset === undefined || mutation.reset >= 1n ? mutation : append;
  }
}

/** Asks again while the cut is overtaken by the writing. */
async function untilTaken<Result>(ask: () => Promise<Result>): Promise<Result> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!hasCode(error, 'image.source-changed') && !hasCode(error, 'proof.stale')) throw error;
    }
  }
}

async function life(seed: number): Promise<number> {
  const random = seededRandom(seed);
  const files = slowFiles(new CrashFileLayer(seed), random, { reads: true });
  const served = await ServedReplica.start({
    files,
    families,
    stateDir: '/state',
    replica: { cluster: 'kv', member: 'n1' },
    uris: families.expand('local:///data/a'),
    create: true,
    policy: { onFailure: 'fail', limitMs: null },
    fullValidationEverySeconds: 86_400,
    by: 'test',
    log: () => {},
  });
  const writer = new Writer(served, random);
  const writing = writer.run();
  // Seen where it is waited for.
  writing.catch(() => {});
  await writer.wrote(20 + random.below(60));
  await served.mirror.begin(families.expand('local:///data/b'));
  await served.mirror.bootstrap();
  for (let cutover = 1; cutover <= cutovers; cutover += 1) {
    await untilTaken(async () => {
      await served.mirror.prove();
      await writer.wrote(random.below(4));
      await served.mirror.cutOver();
    });
  }
  writer.stop();
  await writing;
  const { primary, mirror } = served.mirror.sides;
  expect(await dumpState(primary)).toEqual(dumpModel(writer.model));
  expect(mirror && (await digestInstance(mirror)).root).toBe((await digestInstance(primary)).root);
  await served.close();
  return writer.writes;
}

describe('a live migration while a client writes without a pause', () => {
  test(`${lives} seeds from SEED=${firstSeed}, each with ${cutovers} cutovers: no write fails, both sides end equal to what was written [DUAL-3] [DUAL-9] [EQ-5] [CUT-4] [I9]`, async () => {
    for (let seed = firstSeed; seed < firstSeed + lives; seed += 1) {
      try {
        expect(await life(seed)).toBeGreaterThan(20);
      } catch (cause) {
        throw new Error(`SEED=${seed}: ${String(cause)}`, { cause });
      }
    }
  }, 600_000);
});

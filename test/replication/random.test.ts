import { isDeepStrictEqual } from 'node:util';

import { describe, expect, test } from 'vitest';

import type { Instance, InstanceUris } from '../../storage/contracts.ts';
import { createLocalFamily } from '../../storage/families/local/family.ts';
import type { Pair } from '../../storage/replication/open-pair.ts';
import { moves } from '../../storage/testing/conformance-pairs.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { allowedStates } from '../../storage/testing/crash-situations.ts';
import { seededRandom, type SeededRandom } from '../../storage/testing/seeded-random.ts';
import { dumpState, type StateDump } from '../../storage/testing/state-dump.ts';
import {
  applyToInstance,
  applyToModel,
  dumpModel,
  emptyModel,
  type ModelMutation,
  type StateModel,
} from '../../storage/testing/state-model.ts';
import { openPairAt, type PairFamilyOptions } from './pair-family.ts';
import { slowFiles } from './slow-files.ts';

const local = createLocalFamily({ maxSegmentBytes: 200 });
const pair: PairFamilyOptions = {
  primary: local,
  mirror: local,
  directory: () => '/pair',
  window: { entries: 40, bytes: 100_000 },
};
const uris: InstanceUris = { log: 'pair:', meta: 'pair:', snapshot: 'pair:' };
const firstSeed = Number(process.env['SEED'] ?? 1);
/** Lives of a pair, each of several crashes. */
const lives = process.env['QUORUMSHIFT_LONG'] === '1' ? 2000 : 60;
const crashesInALife = 6;

/** One pair through mutations and crashes; `model` is what was acknowledged. */
class Life {
  readonly #random: SeededRandom;
  readonly #seed: number;
  #files: CrashFileLayer;
  readonly #pair: PairFamilyOptions;
  model: StateModel = emptyModel;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = seededRandom(seed);
    const slower = seed % 2 === 0 ? 'primary' : 'mirror';
    const filesOf: PairFamilyOptions['filesOf'] = (side, files) =>
      side === slower ? slowFiles(files, this.#random) : files;
    this.#pair = { ...pair, filesOf };
    this.#files = new CrashFileLayer(seed);
  }

  async run(): Promise<void> {
    let opened = await openPairAt(this.#pair, uris, {
      mode: 'create',
      context: { files: this.#files },
    });
    for (let crash = 1; crash <= crashesInALife; crash += 1) {
      const inFlight = await this.#untilCrash(opened);
      opened = await this.#reopen(crash);
      const found = await this.#bothSides(opened);
      const allowed = inFlight === null ? [this.model] : allowedStates(this.model, inFlight);
      const index = allowed.findIndex((state) => isDeepStrictEqual(dumpModel(state), found));
      if (index < 0) expect(allowed.map(dumpModel)).toContainEqual(found);
      this.model = allowed[index] ?? this.model;
    }
  }

  /** Mutates until the machine stops; the mutation that was in flight then. */
  async #untilCrash(opened: Pair): Promise<ModelMutation | null> {
    this.#files.crashAt(1 + this.#random.below(250));
    for (;;) {
      const mutation = this.#move();
      if (await this.#crashes(() => applyToInstance(opened.instance, mutation))) return mutation;
      this.model = applyToModel(this.model, mutation);
      const advances = this.#random.below(4) === 0;
      if (advances && (await this.#crashes(() => opened.engine.watermark.advance()))) return null;
    }
  }

  async #crashes(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return false;
    } catch (error) {
      if (!this.#files.crashed) throw error;
      return true;
    }
  }

  /** Opens after the crash; the opening itself is stopped now and then. */
  async #reopen(crash: number): Promise<Pair> {
    for (let attempt = 0; ; attempt += 1) {
      this.#files = this.#files.afterCrash(this.#seed * 1000 + crash * 10 + attempt);
      if (attempt < 3) this.#files.crashAt(1 + this.#random.below(60));
      const context = { files: this.#files };
      try {
        const opened = await openPairAt(this.#pair, uris, { mode: 'read-write', context });
        this.#files.crashAt(Infinity);
        return opened;
      } catch (error) {
        if (!this.#files.crashed) throw error;
      }
    }
  }

  async #bothSides({ instance, engine }: Pair): Promise<StateDump> {
    const found = await dumpState(instance);
    const mirror: Instance | null = engine.mirror;
    expect(mirror && (await dumpState(mirror))).toEqual(found);
    return found;
  }

  #move(): ModelMutation {
    const all = Object.values(moves);
    const mutation: ModelMutation = all[this.#random.below(all.length)]?.(this.model) ?? {};
    // They are made for a log with entries; of an empty one the middle may be 0.
    const isLegal = mutation.reset === undefined || mutation.reset >= 1n;
    return isLegal ? mutation : moves['append of several entries'](this.model);
  }
}

describe('a pair through random mutations and crashes', () => {
  test(`${lives} lives from SEED=${firstSeed}: after each crash both sides are equal, all that was acknowledged is there, and nothing but what was in flight besides [I1] [I2] [I4] [I19] [DUAL-4] [DUAL-5] [DUAL-6]`, async () => {
    for (let seed = firstSeed; seed < firstSeed + lives; seed += 1) {
      try {
        await new Life(seed).run();
      } catch (cause) {
        throw new Error(`SEED=${seed}: ${String(cause)}`, { cause });
      }
    }
  }, 600_000);
});

import { setImmediate } from 'node:timers/promises';

import { describe, expect, test } from 'vitest';

import { QuorumshiftError } from '../../core/errors.ts';
import { ServedReplica } from '../../host/served-replica.ts';
import { RecordStore } from '../../storage/binding/record-store.ts';
import { FamilyRegistry } from '../../storage/family-registry.ts';
import { createLocalFamily } from '../../storage/families/local/family.ts';
import { batchOf } from '../../storage/entry-batch.ts';
import { digestInstance } from '../../storage/equivalence/state-digest.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { seededRandom, type SeededRandom } from '../../storage/testing/seeded-random.ts';
import { slowFiles } from '../replication/slow-files.ts';

const families = new FamilyRegistry([createLocalFamily({ maxSegmentBytes: 400 })]);
const firstSeed = Number(process.env['SEED'] ?? 1);
const lives = process.env['QUORUMSHIFT_LONG'] === '1' ? 400 : 20;
const hostsInALife = 4;

/** One replica through hosts that are stopped at any moment, while operators ask for anything. */
class Life {
  readonly #random: SeededRandom;
  readonly #disk: CrashFileLayer;
  acknowledged = 0n;
  ended = 0;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    this.#disk = new CrashFileLayer(seed);
  }

  async run(): Promise<void> {
    for (let host = 1; host <= hostsInALife; host += 1) await this.#oneHost();
  }

  async #oneHost(): Promise<void> {
    const served = await ServedReplica.start({
      files: slowFiles(this.#disk, this.#random, { reads: true }),
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
    const writing = this.#write(served);
    const operators = [1, 2].map(() => this.#operate(served));
    for (let turns = this.#random.below(1500); turns > 0; turns -= 1) await setImmediate();
    await served.close();
    await Promise.all([writing, ...operators]);
    await this.#requireSound();
  }

  /** Appends until its host stops. */
  async #write(served: ServedReplica): Promise<void> {
    await untilClosed(async () => {
      const { epoch, state } = await served.open({ opener: '', resumes: 0n });
      expect(state.lastIndex).toBe(this.acknowledged);
      for (;;) {
        const next = this.acknowledged + 1n;
        const entries = { after: this.acknowledged, batches: [batchOf(entriesOf(next, next))] };
        await served.apply(epoch, { entries });
        this.acknowledged = next;
        await setImmediate();
      }
    });
  }

  /** Asks for one thing after the other; most are refused, as the stage is another one. */
  async #operate(served: ServedReplica): Promise<void> {
    const { mirror } = served;
    const steps = [
      async () => {
        await mirror.begin(families.expand(`local:///data/${'abc'[this.#random.below(3)] ?? 'b'}`));
        await mirror.bootstrap();
      },
      () => mirror.prove(),
      () => mirror.cutOver(),
      () => mirror.finalize({ deletes: false }),
      () => mirror.drop(),
    ];
    await untilClosed(async () => {
      for (;;) {
        // Each stage is reached now and then: the step that leads on is the likelier one.
        const step =
          steps[this.#random.below(20) === 0 ? 3 + this.#random.below(2) : this.#random.below(3)];
        try {
          if (step !== undefined) await mirror.inTurn(async () => step());
          this.ended += 1;
        } catch (error) {
          if (!(error instanceof QuorumshiftError) || error.code === 'instance.closed') throw error;
        }
        await setImmediate();
      }
    });
  }

  /** The record names whole instances, equal where it says so; nothing acknowledged is missing. */
  async #requireSound(): Promise<void> {
    const files = this.#disk;
    const store = new RecordStore({
      files,
      stateDir: '/state',
      replica: { cluster: 'kv', member: 'n1' },
      now: () => new Date(),
    });
    const record = await store.read();
    if (record === null) throw new Error('there must be a record');
    const primary = await families.open(record.primary.uris, 'read-only', { files });
    expect(primary.state().lastIndex).toBe(this.acknowledged);
    if (record.mirror?.stage === 'dual') {
      const mirror = await families.open(record.mirror.ref.uris, 'read-only', { files });
      expect((await digestInstance(mirror)).root).toBe((await digestInstance(primary)).root);
      await mirror.close();
    }
    await primary.close();
  }
}

async function untilClosed(work: () => Promise<never>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const isClosed =
      error instanceof QuorumshiftError &&
      (error.code === 'instance.closed' || error.code === 'session.fenced');
    if (!isClosed) throw error;
  }
}

describe('a host that is stopped while operators ask for anything', () => {
  test(`${lives} seeds from SEED=${firstSeed}, each with ${hostsInALife} hosts: nothing acknowledged is missing, and the record is true [I1] [I2] [I8] [DUAL-3] [CUT-2]`, async () => {
    let ended = 0;
    for (let seed = firstSeed; seed < firstSeed + lives; seed += 1) {
      const life = new Life(seed);
      try {
        await life.run();
      } catch (cause) {
        throw new Error(`SEED=${seed}: ${String(cause)}`, { cause });
      }
      ended += life.ended;
    }
    expect(ended).toBeGreaterThan(lives);
  }, 600_000);
});

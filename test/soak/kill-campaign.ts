/**
 * Kills at seeded random moments, while replicas migrate from family to family without end. A kill
 * counts when the records show that it hit inside a phase of a migration.
 */
import { setTimeout as delay } from 'node:timers/promises';

import type { MigrationState } from '../../schemas/binding-record.ts';
import { seededRandom, type SeededRandom } from '../../storage/testing/seeded-random.ts';
import { hasBegun } from './hold-phase.ts';
import type { KillableFleet, Victim } from './killable-fleet.ts';
import { MigratingReplica } from './migrating-replica.ts';

/** More than one a machine: some go on while others are missed for a while after a kill. */
const replicasOfMachine = 2;

/** Longer than a migration of a small replica, in phases as in gaps between them. */
const longestPauseMs = 1_500;

/** One migration of this many is rolled back by an operator while it soaks. */
const rollbackOneIn = 4;

/** Where a kill hit. */
export interface Hit {
  readonly victim: string;
  readonly replica: string;
  readonly migration: string;
  readonly phase: string;
  /** Whether the step had begun; else it was between two steps. */
  readonly begun: boolean;
}

export interface CampaignOptions {
  readonly kills: number;
  readonly seed: number;
  readonly log: (line: string) => void;
}

export interface CampaignResult {
  readonly hits: readonly Hit[];
  /** Migrations that ended, each checked. */
  readonly migrations: number;
}

/** @throws when a migration does not end as it would have without kills */
export async function runCampaign(
  fleet: KillableFleet,
  options: CampaignOptions,
): Promise<CampaignResult> {
  const campaign = new KillCampaign(fleet, options);
  return campaign.run();
}

class KillCampaign {
  readonly #fleet: KillableFleet;
  readonly #options: CampaignOptions;
  readonly #random: SeededRandom;
  readonly #hits: Hit[] = [];
  readonly #replicas: MigratingReplica[] = [];
  /** Revision of the record when it was hit last: the next kill that counts finds another. */
  readonly #lastHit = new Map<MigratingReplica, number>();
  #migrations = 0;
  #over = false;

  constructor(fleet: KillableFleet, options: CampaignOptions) {
    this.#fleet = fleet;
    this.#options = options;
    this.#random = seededRandom(options.seed);
  }

  async run(): Promise<CampaignResult> {
    for (const machine of this.#fleet.machines) {
      for (let i = 0; i < replicasOfMachine; i++) {
        this.#replicas.push(await MigratingReplica.create(machine, `r${this.#replicas.length}`));
      }
    }
    const migrating = this.#replicas.map((replica, i) =>
      this.#migrate(replica, seededRandom(this.#options.seed + i + 1)).catch((error: unknown) => {
        this.#over = true;
        throw error;
      }),
    );
    await Promise.all([...migrating, this.#killAll()]);
    return { hits: this.#hits, migrations: this.#migrations };
  }

  async #migrate(replica: MigratingReplica, random: SeededRandom): Promise<void> {
    while (!this.#over) {
      const back = random.below(rollbackOneIn) === 0;
      const running = await replica.begin({ finalize: back ? 'manual' : 'auto' });
      if (back) {
        await replica.untilSoaking();
        await replica.rollBack();
      }
      await replica.end(running, back ? 'rolled-back' : 'finalized');
      this.#migrations += 1;
    }
  }

  async #killAll(): Promise<void> {
    const { kills, log } = this.#options;
    while (this.#hits.length < kills && !this.#over) {
      await delay(this.#random.below(longestPauseMs));
      const under = await this.#underWay(this.#replicas);
      const victim = this.#pickVictim([...under.keys()]);
      if (victim === null) continue;
      const hit = await this.#kill(victim);
      if (hit === null) {
        log(`${this.#fleet.nameOf(victim)}: hit nothing new, not counted`);
      } else {
        this.#hits.push(hit);
        const where = `${hit.begun ? 'inside' : 'before'} ${hit.phase} of ${hit.migration}`;
        log(`kill ${this.#hits.length}: ${hit.victim}, ${hit.replica} ${where}`);
      }
      await this.#fleet.restart(victim);
    }
    this.#over = true;
  }

  /** Null when nothing is under way that has moved since it was hit last. */
  #pickVictim(under: readonly MigratingReplica[]): Victim | null {
    const one = under[this.#random.below(under.length)];
    const kind = this.#random.below(4);
    if (one === undefined) return null;
    if (kind === 0) return 'server';
    return kind === 1 ? 'control' : one.environment;
  }

  /** Kills, and names a migration that was under way before and still is; null when none was. */
  async #kill(victim: Victim): Promise<Hit | null> {
    const before = await this.#underWay(
      this.#replicas.filter(
        ({ environment }) => typeof victim === 'string' || environment === victim,
      ),
    );
    await this.#fleet.kill(victim);
    const hit: Hit[] = [];
    for (const [replica, { id }] of before) {
      const record = await replica.store.read();
      if (record?.migration?.id !== id) continue;
      this.#lastHit.set(replica, record.revision);
      hit.push({
        victim: this.#fleet.nameOf(victim),
        replica: replica.name,
        migration: id,
        phase: record.migration.phase,
        begun: hasBegun(record),
      });
    }
    const begun = hit.filter((one) => one.begun);
    const shown = begun.length > 0 ? begun : hit;
    return shown[this.#random.below(shown.length)] ?? null;
  }

  /** Migrations that own their replica and have moved on since they were hit last. */
  async #underWay(
    replicas: readonly MigratingReplica[],
  ): Promise<Map<MigratingReplica, MigrationState>> {
    const under = new Map<MigratingReplica, MigrationState>();
    for (const replica of replicas) {
      const record = await replica.store.read();
      if (record?.migration == null) continue;
      if (record.revision !== this.#lastHit.get(replica)) under.set(replica, record.migration);
    }
    return under;
  }
}

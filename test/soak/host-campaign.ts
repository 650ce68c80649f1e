/**
 * Kills of a storage host at seeded random moments, many a minute: while it starts and recovers,
 * while raw clients write every kind of mutation, and while each replica moves from family to
 * family.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { seededRandom, type SeededRandom } from '../../storage/testing/seeded-random.ts';
import { makeHostPlace, type HostPlace } from '../host/host-process.ts';
import { HostWriter } from './host-writer.ts';
import { KillableHost } from './killable-host.ts';
import { checkReplica } from './live-end.ts';
import { LiveReplica, type ReplicaView } from './live-replica.ts';
import { CallingOperator } from './replica-operator.ts';

/** Each begins with the family before its first target. */
const members = { n1: 'local', n2: 'rocksdb', n3: 'sqlite', n4: 'local' } as const;

/** After it serves: too short for a migration, mostly; one life of some is long enough. */
const shortLifeMs = 800;
const longLifeMs = 6_000;
const longLifeOneIn = 6;
/** One kill of this many comes while it starts. */
const startingOneIn = 4;
const longestStartMs = 500;

export interface HostCampaignOptions {
  readonly kills: number;
  /** Of each replica; 3 are local → rocksdb → sqlite → local. */
  readonly fewestMigrations: number;
  readonly seed: number;
  readonly log: (line: string) => void;
}

export interface HostCampaignResult {
  readonly kills: number;
  readonly whileStarting: number;
  readonly finalized: number;
  readonly rolledBack: number;
  readonly detached: number;
  /** Acknowledged mutations. */
  readonly writes: number;
  /** Comparisons of a replica's whole state with what its client was told. */
  readonly checks: number;
}

/** @throws with what was broken; the host's directory is kept then, and named */
export async function runHostCampaign(options: HostCampaignOptions): Promise<HostCampaignResult> {
  const place = await makeHostPlace(members);
  const host = new KillableHost(place, options.log);
  try {
    const result = await new HostCampaign(place, host, options).run();
    await rm(place.directory, { recursive: true });
    return result;
  } catch (error) {
    const at = `seed ${options.seed}, kept in ${place.directory}`;
    const told = error instanceof Error ? error.message : String(error);
    throw new Error(`${told} (${at})\n${host.log}`, { cause: error });
  } finally {
    await host.stop();
  }
}

class HostCampaign {
  readonly #place: HostPlace;
  readonly #host: KillableHost;
  readonly #options: HostCampaignOptions;
  readonly #random: SeededRandom;
  readonly #writers: readonly HostWriter[];
  readonly #replicas: readonly LiveReplica[];
  #kills = 0;
  #whileStarting = 0;
  #isOver = false;

  constructor(place: HostPlace, host: KillableHost, options: HostCampaignOptions) {
    const { seed, log } = options;
    this.#place = place;
    this.#host = host;
    this.#options = options;
    this.#random = seededRandom(seed);
    const names = Object.keys(members);
    this.#writers = names.map((name, i) => new HostWriter(name, seededRandom(seed + 10 + i)));
    this.#replicas = names.map(
      (name, i) =>
        new LiveReplica({
          name,
          operator: new CallingOperator({ replica: `kv/${name}`, socket: place.adminSocket }),
          directory: join(place.directory, `${name}-places`),
          firstFamily: i,
          random: seededRandom(seed + 20 + i),
          cutOver: (cutover) => cutover(),
          log,
        }),
    );
  }

  async run(): Promise<HostCampaignResult> {
    const stopAll = (error: unknown) => {
      this.#isOver = true;
      throw error;
    };
    const { kills, fewestMigrations } = this.#options;
    const migrating = this.#replicas.map((one) => {
      const hasDone = () => this.#kills >= kills && one.ended.finalized >= fewestMigrations;
      return one.migrate(() => this.#isOver || hasDone()).catch(stopAll);
    });
    const moving = Promise.all([...migrating, this.#killAll()]).finally(() => {
      this.#isOver = true;
    });
    const writing = this.#writers.map((writer) => this.#write(writer).catch(stopAll));
    await Promise.all([moving, ...writing]);
    await this.#checkEnd();
    return this.#counts();
  }

  #counts(): HostCampaignResult {
    const ended = (how: keyof LiveReplica['ended']) =>
      this.#replicas.reduce((sum, one) => sum + one.ended[how], 0);
    const told = (what: 'writes' | 'checks') =>
      this.#writers.reduce((sum, one) => sum + one[what], 0);
    return {
      kills: this.#kills,
      whileStarting: this.#whileStarting,
      finalized: ended('finalized'),
      rolledBack: ended('rolledBack'),
      detached: ended('detached'),
      writes: told('writes'),
      checks: told('checks'),
    };
  }

  async #write(writer: HostWriter): Promise<void> {
    const isOver = () => this.#isOver;
    while (!this.#isOver) {
      const client = await this.#host.connect();
      await writer.write(client, isOver);
      client.close();
    }
  }

  async #killAll(): Promise<void> {
    const { kills, log } = this.#options;
    while (this.#kills < kills && !this.#isOver) {
      if (this.#random.below(startingOneIn) === 0) {
        await delay(this.#random.below(longestStartMs));
        this.#whileStarting += 1;
      } else {
        await this.#host.isReady();
        const isLong = this.#random.below(longLifeOneIn) === 0;
        await delay(this.#random.below(isLong ? longLifeMs : shortLifeMs));
      }
      await this.#host.kill();
      this.#kills += 1;
      if (this.#kills % 10 === 0) log(`${this.#kills} kills ${JSON.stringify(this.#counts())}`);
    }
  }

  /** Once more from the disk: what clients were told; then each pair, read offline. */
  async #checkEnd(): Promise<void> {
    await this.#host.kill();
    const client = await this.#host.connect();
    for (const writer of this.#writers) await writer.write(client, () => true);
    client.close();
    const views = new Map<string, ReplicaView>();
    for (const replica of this.#replicas) {
      const view = await replica.view();
      if (view === null) throw new Error(`${replica.name} is not served at the end`);
      views.set(replica.name, view);
    }
    await this.#host.stop();
    const stateDir = join(this.#place.directory, 'state');
    for (const [name, view] of views) await checkReplica(stateDir, { name, view });
  }
}

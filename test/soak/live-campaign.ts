/**
 * Kills at seeded random moments, while every replica of a live cluster moves from family to family
 * without end and clients record what they see.
 */
import { setTimeout as delay } from 'node:timers/promises';

import { seededRandom, type SeededRandom } from '../../storage/testing/seeded-random.ts';
import { KvCluster } from '../go/kv-cluster.ts';
import { checkEnd } from './live-end.ts';
import { KvLoad, type Verdict } from './kv-load.ts';
import type { MovedReplica, Movement, Victim } from './movement.ts';
import { moveByOperators } from './operator-movement.ts';
import { QuietMoments } from './quiet-moments.ts';
import { moveByWorkflows } from './workflow-movement.ts';

const nodes = ['n1', 'n2', 'n3'];

/** A follower that hangs for longer than so many entries gets a snapshot. */
const trailingLogs = 64;

/** Longer than a command takes, and than an election. */
const longestPauseMs = 2_500;

/** What the cluster answers between two looks at whether it still goes on. */
const answersOfProgress = 10;
const killsBetweenLooks = 5;

export interface LiveCampaignOptions {
  readonly kills: number;
  /** Of each replica; 3 are local → rocksdb → sqlite → local. */
  readonly fewestMigrations: number;
  readonly seed: number;
  readonly log: (line: string) => void;
  /** Temporal's server, where workflows move the replicas; absent: operators do. */
  readonly temporal?: string;
}

export interface LiveCampaignResult {
  readonly kills: Readonly<Record<string, number>>;
  readonly finalized: number;
  readonly rolledBack: number;
  readonly detached: number;
  readonly snapshotsInstalled: number;
  readonly leaderTransfers: number;
  /** Cutovers in which nothing was killed, none of which changed the term. */
  readonly quietCutovers: number;
  readonly history: Verdict;
}

/** @throws with what was broken; the cluster's directory is kept then, and named */
export async function runLiveCampaign(options: LiveCampaignOptions): Promise<LiveCampaignResult> {
  const cluster = await KvCluster.start({ trailingLogs });
  try {
    const campaign = new LiveCampaign(cluster, options);
    const result = await campaign.run();
    await cluster.stop();
    return result;
  } catch (error) {
    await cluster.end();
    const at = `seed ${options.seed}, kept in ${cluster.data}`;
    throw new Error(`${error instanceof Error ? error.message : String(error)} (${at})`, {
      cause: error,
    });
  }
}

class LiveCampaign {
  readonly #cluster: KvCluster;
  readonly #options: LiveCampaignOptions;
  readonly #random: SeededRandom;
  readonly #quiet: QuietMoments;
  #movement: Movement = { replicas: [], victims: [], close: async () => {} };
  readonly #kills: Record<string, number> = {};
  #load: KvLoad | null = null;
  #killed = 0;
  #leaderTransfers = 0;
  #isOver = false;

  constructor(cluster: KvCluster, options: LiveCampaignOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#random = seededRandom(options.seed);
    const random = seededRandom(options.seed + 1);
    this.#quiet = new QuietMoments({ cluster, answered: () => this.#answered, random });
  }

  async run(): Promise<LiveCampaignResult> {
    const { data: directory, nodes: addresses } = this.#cluster;
    const { seed } = this.#options;
    await this.#cluster.until('a node leads', async () => (await this.#leader()) !== null);
    const load = await KvLoad.start({ nodes: addresses, directory, seed });
    this.#load = load;
    this.#movement = await this.#move();
    try {
      await this.#untilKilled();
      await load.stop();
      const final = await checkEnd(this.#cluster, this.#movement.replicas);
      return { ...this.#counts(), history: await load.check(final) };
    } finally {
      this.#isOver = true;
      await load.stop();
      await this.#movement.close();
    }
  }

  async #move(): Promise<Movement> {
    const { seed, log, temporal } = this.#options;
    const given = { cluster: this.#cluster, nodes, quiet: this.#quiet, seed: seed + 2, log };
    return temporal === undefined ? moveByOperators(given) : moveByWorkflows(temporal, given);
  }

  #counts(): Omit<LiveCampaignResult, 'history'> {
    const { snapshotsInstalled } = this.#cluster;
    const sum = (how: keyof MovedReplica['ended']) =>
      this.#movement.replicas.reduce((total, { ended }) => total + ended[how], 0);
    return {
      kills: this.#kills,
      finalized: sum('finalized'),
      rolledBack: sum('rolledBack'),
      detached: sum('detached'),
      snapshotsInstalled,
      leaderTransfers: this.#leaderTransfers,
      quietCutovers: this.#quiet.watched,
    };
  }

  get #answered(): number {
    return this.#load?.answered ?? 0;
  }

  /** Ends with the first of them that fails. */
  async #untilKilled(): Promise<void> {
    const stopAll = (error: unknown) => {
      this.#isOver = true;
      // At once: what is still under way may end the process when the cluster goes.
      this.#options.log(`failed: ${String(error)}`);
      throw error;
    };
    const { kills, fewestMigrations } = this.#options;
    const migrating = this.#movement.replicas.map((one) => {
      const hasDone = () => this.#killed >= kills && one.ended.finalized >= fewestMigrations;
      return one.migrate(() => this.#isOver || hasDone()).catch(stopAll);
    });
    await Promise.all([...migrating, this.#killAll().catch(stopAll)]);
  }

  async #killAll(): Promise<void> {
    let answered = this.#answered;
    while (this.#killed < this.#options.kills && !this.#isOver) {
      await delay(this.#random.below(longestPauseMs));
      await this.#quiet.disturb(() => this.#disturb());
      if (this.#killed % killsBetweenLooks !== 0) continue;
      const wanted = answered + answersOfProgress;
      await this.#cluster.until('the cluster goes on', async () => this.#answered >= wanted);
      answered = this.#answered;
    }
  }

  async #disturb(): Promise<void> {
    const kind = this.#random.below(12);
    if (kind === 0) await this.#transferLeader();
    else if (kind === 1) await this.#fallBehind();
    else if (kind < 5) await this.#kill(this.#movement.victims);
    else await this.#kill(this.#processes(kind < 8 ? 'node' : 'host'));
  }

  async #kill(victims: readonly Victim[]): Promise<void> {
    const victim = victims[this.#random.below(victims.length)];
    if (victim === undefined || !(await victim.kill())) return;
    const { kind, name } = victim;
    this.#killed += 1;
    this.#kills[kind] = (this.#kills[kind] ?? 0) + 1;
    this.#options.log(`kill ${this.#killed}: ${name}; ${this.#answered} answers`);
  }

  #processes(kind: 'node' | 'host'): Victim[] {
    const names = this.#cluster.names.filter((name) => name.endsWith(kind));
    return names.map((name) => ({
      kind,
      name,
      kill: async () => {
        await this.#cluster.kill(name);
        return true;
      },
    }));
  }

  async #transferLeader(): Promise<void> {
    const leader = await this.#leader();
    if (leader === null || !(await this.#cluster.ask(leader, '/leader-transfer'))) return;
    this.#leaderTransfers += 1;
    this.#options.log('the leader was changed');
  }

  /** A follower hangs until the others have dropped what it lacks: it gets a snapshot. */
  async #fallBehind(): Promise<void> {
    const { nodes } = this.#cluster;
    const leader = await this.#leader();
    const i = nodes.findIndex((node) => node !== leader);
    const name = `n${i + 1} node`;
    if (leader === null) return;
    this.#options.log(`${name} hangs`);
    this.#cluster.signal(name, 'SIGSTOP');
    try {
      const others = nodes.filter((_, j) => j !== i);
      const committed = async () => {
        const asked = others.map((node) => this.#cluster.status(node).catch(() => null));
        const all = await Promise.all(asked);
        return Math.max(...all.map((status) => status?.commitIndex ?? 0));
      };
      const wanted = (await committed()) + 2 * trailingLogs;
      await this.#cluster.until('the others go on', async () => (await committed()) >= wanted);
      for (const node of others) await this.#cluster.ask(node, '/snapshot');
    } finally {
      this.#cluster.signal(name, 'SIGCONT');
    }
  }

  async #leader(): Promise<string | null> {
    for (const node of this.#cluster.nodes) {
      const status = await this.#cluster.status(node).catch(() => null);
      if (status?.state === 'Leader') return node;
    }
    return null;
  }
}

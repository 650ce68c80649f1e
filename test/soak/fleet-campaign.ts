/**
 * A fleet on simulated machines, rolled out by the real workflows on a real Temporal server: some
 * clusters are doomed until the budget stops the rollout, and it is stopped once as in an
 * emergency. What it held is then read from the agents' own log and the server's histories.
 */
import { setTimeout as delay } from 'node:timers/promises';

import type { Client } from '@temporalio/client';

import type { FleetClient } from '../../client/fleet-client.ts';
import type { ClusterRollout } from '../../schemas/cluster-rollout.ts';
import { rolloutPolicySchema } from '../../schemas/rollout-policy.ts';
import { eventually } from '../e2e/migration-environment.ts';
import { readActivityLog, type LogFindings } from './activity-log.ts';
import { busySeconds } from './campaign-report.ts';
import { clusterNames, placed, SimulatedFleet, simulatedRollouts } from './simulated-fleet.ts';

export interface CampaignOptions {
  readonly bin: string;
  readonly replicas: number;
  readonly clusters: number;
  readonly machines: number;
  /** Under way at once. */
  readonly window: number;
  readonly perMachine: number;
  /** So many clusters fail until they are mended; one less is the budget. */
  readonly doomed: number;
  readonly failingShare: number;
  readonly seed: number;
  /** What is waited for longer has gone wrong: the error says what it was. */
  readonly patienceMs: number;
  readonly log: (line: string) => void;
}

export interface HistorySizes {
  readonly runs: number;
  readonly mostEvents: number;
  readonly mostBytes: number;
}

export interface CampaignFindings {
  readonly log: LogFindings;
  readonly seconds: number;
  /** Of the emergency stop: from its call to the last step that began. */
  readonly stopDelayMs: number;
  /** Resident memory of the control worker over time, MiB. */
  readonly controlMiB: readonly number[];
  /** By workflow type. */
  readonly histories: Readonly<Record<string, HistorySizes>>;
  readonly failedClusters: number;
  /** Activities a second: of the fleet while nothing held it, and of children with no-ops alone. */
  readonly rates: { readonly fleet: number; readonly noop: number };
}

/** Enough for a rate. */
const noopChildren = 20;

const entries = 20;

/** After a stop nothing may begin for so long. */
const quietMs = 5_000;

export class FleetCampaign {
  readonly #options: CampaignOptions;
  readonly #fleet: SimulatedFleet;
  readonly #rollouts: readonly ClusterRollout[];

  static async run(options: CampaignOptions): Promise<CampaignFindings> {
    const { bin, doomed, failingShare, seed, log } = options;
    const rollouts = rolloutsOf(options);
    const fleet = await SimulatedFleet.start({
      bin,
      log,
      machines: { failingShare, seed, entries, machines: placed(rollouts) },
      // Of the second wave.
      doomed: rollouts.slice(1, 1 + doomed).map(({ cluster }) => cluster),
    });
    try {
      return await new FleetCampaign(options, fleet, rollouts).#run();
    } finally {
      await fleet.close();
    }
  }

  private constructor(
    options: CampaignOptions,
    fleet: SimulatedFleet,
    rollouts: readonly ClusterRollout[],
  ) {
    this.#options = options;
    this.#fleet = fleet;
    this.#rollouts = rollouts;
  }

  async #run(): Promise<CampaignFindings> {
    const { log, clusters, window } = this.#options;
    const { client, temporal, logFile, controlMiB } = this.#fleet;
    const snapshot = await this.#fleet.snapshot(this.#rollouts);
    const startedMs = Date.now();
    const [first] = this.#rollouts;
    if (first === undefined) throw new Error('a fleet has a cluster');
    const { policy, rolloutId, requestedBy } = first;
    await client.start({ fleet: 'sim', rolloutId, snapshot, policy, requestedBy });
    const failedClusters = await this.#untilBudgetStops(client);
    await this.#fleet.mend();
    await client.resume('sim');
    const { stopDelayMs, resumedAtMs } = await this.#stopInTheMiddle(client, clusters);
    await this.#untilEnded(client);
    const result = await client.result('sim');
    if (result.outcome !== 'finalized') throw new Error(JSON.stringify(result));
    const seconds = (Date.now() - startedMs) / 1000;
    const memory = [...controlMiB];
    log(`all ${clusters} clusters are finalized after ${seconds.toFixed(0)} s`);
    const hosts = new Map(
      this.#rollouts.map(({ cluster, members }) => [cluster, members.map(({ host }) => host)]),
    );
    const histories = await historySizes(temporal);
    const found = await readActivityLog(logFile, hosts, resumedAtMs);
    const activities = Math.round(found.activities / clusters);
    const children = Math.max(window, noopChildren);
    await this.#fleet.startNoops();
    const noopSeconds = await this.#fleet.noop({
      workflowId: 'noop',
      children,
      window,
      activities,
    });
    return {
      log: found,
      rates: {
        fleet: found.activities / busySeconds(found.beganAtMs),
        noop: (children * activities) / noopSeconds,
      },
      seconds,
      stopDelayMs,
      controlMiB: memory,
      histories,
      failedClusters,
    };
  }

  /** Doomed clusters fail; with one more than the budget nothing else begins. */
  async #untilBudgetStops(client: FleetClient): Promise<number> {
    const { doomed, log } = this.#options;
    if (doomed === 0) return 0;
    const status = await this.#until(client, 'the budget is spent', ({ stage, counts }) => {
      return stage === 'budget-spent' && counts.moving === 0;
    });
    const { begun, failed } = status.counts;
    log(`the budget stopped it: ${failed} failed of ${begun} that had begun`);
    await delay(quietMs);
    const later = await this.#until(client, 'a status', () => true);
    if (later.counts.begun !== begun) throw new Error('a cluster began beyond the budget');
    return failed;
  }

  /** Returns how long after the call the last step began, and when it was resumed. */
  async #stopInTheMiddle(client: FleetClient, clusters: number) {
    const { log } = this.#options;
    await this.#until(client, 'half of it is done', ({ counts }) => {
      return counts.finalized >= clusters / 2;
    });
    const calledMs = Date.now();
    await client.stop('sim', 'a drill');
    const acceptedMs = Date.now() - calledMs;
    await delay(2 * quietMs);
    const { stepsAtMs } = await readActivityLog(this.#fleet.logFile, new Map());
    const stopDelayMs = Math.max(0, (stepsAtMs.at(-1) ?? 0) - calledMs);
    log(
      `emergency stop: accepted after ${acceptedMs} ms, the last step began after ${stopDelayMs} ms`,
    );
    const resumedAtMs = Date.now();
    await client.resume('sim');
    return { stopDelayMs, resumedAtMs };
  }

  async #untilEnded(client: FleetClient): Promise<void> {
    const { log, patienceMs } = this.#options;
    let shown = Date.now();
    await eventually(
      'the rollout has ended',
      async () => {
        await delay(1_000);
        const { run, status, failure } = await client.status('sim');
        if (failure !== null) throw new Error(failure);
        if (Date.now() - shown > 30_000 && status !== null) {
          shown = Date.now();
          const { counts, waiting } = status;
          log(`${JSON.stringify(counts)} ${waiting?.reason ?? ''}`);
        }
        const { kind } = status?.waiting ?? {};
        if (kind === 'budget' || kind === 'failed') throw new Error(JSON.stringify(status));
        return run === 'completed';
      },
      patienceMs,
    );
  }

  #until(
    client: FleetClient,
    what: string,
    holds: (status: NonNullable<Awaited<ReturnType<FleetClient['status']>>['status']>) => boolean,
  ) {
    return eventually(
      what,
      async () => {
        await delay(200);
        const { status, run, failure } = await client.status('sim');
        if (run !== 'running') throw new Error(`it has ended: ${run} ${failure ?? ''}`);
        return status !== null && holds(status) ? status : null;
      },
      this.#options.patienceMs,
    );
  }
}

function rolloutsOf(options: CampaignOptions): ClusterRollout[] {
  const { replicas, clusters, machines, window, perMachine, doomed, seed } = options;
  const policy = rolloutPolicySchema.parse({
    target: 'memory://new-{cluster}-{member}',
    waves: [{ name: 'canary', clusters: 1 }, { clusters: '10%' }, { clusters: '100%' }],
    concurrency: { clusters: window, perMachine },
    failureBudget: Math.max(0, doomed - 1),
    soakSeconds: 0,
    finalize: 'per-cluster',
  });
  const members = Math.max(1, Math.round(replicas / clusters));
  const rolloutId = `sim-${seed}`;
  const names = clusterNames('c', clusters);
  return simulatedRollouts({ names, members, machines, rolloutId, policy });
}

/** Of every run that the server knows. */
async function historySizes(client: Client): Promise<Record<string, HistorySizes>> {
  const sizes: Record<string, HistorySizes> = {};
  for await (const { type, historyLength, historySize = 0 } of client.workflow.list()) {
    const before = sizes[type] ?? { runs: 0, mostEvents: 0, mostBytes: 0 };
    sizes[type] = {
      runs: before.runs + 1,
      mostEvents: Math.max(before.mostEvents, historyLength),
      mostBytes: Math.max(before.mostBytes, historySize),
    };
  }
  return sizes;
}

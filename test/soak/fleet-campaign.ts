/**
 * A fleet on simulated machines, rolled out by the real workflows on a real Temporal server: some
 * clusters are doomed until the budget stops the rollout, and it is stopped once as in an
 * emergency. What it held is then read from the agents' own log and the server's histories.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import type { Client } from '@temporalio/client';

import { FleetClient } from '../../client/fleet-client.ts';
import { openControlStore } from '../../control/control-store.ts';
import type { ReplicaName } from '../../core/ids.ts';
import { contractVersion } from '../../core/ids.ts';
import { clusterRolloutSchema, type ClusterRollout } from '../../schemas/cluster-rollout.ts';
import { rolloutPolicySchema } from '../../schemas/rollout-policy.ts';
import { connectClient } from '../../worker/temporal-connection.ts';
import { startTemporalServer, type TemporalServer } from '../../worker/temporal-server.ts';
import { eventually } from '../e2e/migration-environment.ts';
import { readActivityLog, type LogFindings } from './activity-log.ts';
import type { noopFleet } from './noop-workflows.ts';
import type { SimulatedMachines } from './simulated-machines.ts';

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

/** As docs/rollouts.md has them for thousands of machines. */
const serverSettings = {
  'frontend.namespaceCount': 20_000,
  'frontend.namespaceRPS': 50_000,
  'matching.numTaskqueueReadPartitions': 1,
  'matching.numTaskqueueWritePartitions': 1,
};

/** Enough for a rate. */
const noopChildren = 20;

const entries = 20;
const memorySampleMs = 2_000;

/** After a stop nothing may begin for so long. */
const quietMs = 5_000;

export class FleetCampaign {
  readonly #options: CampaignOptions;
  readonly #root: string;
  readonly #processes: ChildProcess[] = [];
  readonly #controlMiB: number[] = [];
  #server: TemporalServer | null = null;

  static async run(options: CampaignOptions): Promise<CampaignFindings> {
    const root = await mkdtemp(join(tmpdir(), 'quorumshift-fleet-'));
    const campaign = new FleetCampaign(options, root);
    try {
      return await campaign.#run();
    } finally {
      await campaign.#close();
    }
  }

  private constructor(options: CampaignOptions, root: string) {
    this.#options = options;
    this.#root = root;
  }

  async #run(): Promise<CampaignFindings> {
    const { bin, log, clusters } = this.#options;
    const { settings, rollouts } = this.#fleet();
    this.#server = await startTemporalServer({
      bin,
      dbFile: this.#path('temporal.db'),
      settings: serverSettings,
    });
    const { address, namespace } = this.#server;
    const snapshot = await this.#store(rollouts);
    await writeFile(
      this.#path('machines.json'),
      JSON.stringify({ ...settings, address, namespace } satisfies SimulatedMachines),
    );
    const machines = fileURLToPath(new URL('simulated-machines.js', import.meta.url));
    await this.#start([machines, this.#path('machines.json')]);
    const controlConfig = this.#path('control.json');
    await writeFile(controlConfig, JSON.stringify({ controlDir: this.#path('control') }));
    const control = await this.#start([
      resolve('bin/quorumshift.mjs'),
      'control',
      '--config',
      controlConfig,
    ]);
    const sampling = setInterval(() => void this.#sample(control), memorySampleMs);
    const temporal = await connectClient({ address, namespace });
    try {
      const client = new FleetClient({ client: temporal, identity: 'simulation' });
      const startedMs = Date.now();
      const [first] = rollouts;
      if (first === undefined) throw new Error('a fleet has a cluster');
      const { policy, rolloutId, requestedBy } = first;
      await client.start({ fleet: 'sim', rolloutId, snapshot, policy, requestedBy });
      const failedClusters = await this.#untilBudgetStops(client);
      await writeFile(settings.doomedFile, '');
      await client.resume('sim');
      const stopDelayMs = await this.#stopInTheMiddle(client, clusters);
      await this.#untilEnded(client);
      const result = await client.result('sim');
      if (result.outcome !== 'finalized') throw new Error(JSON.stringify(result));
      const seconds = (Date.now() - startedMs) / 1000;
      log(`all ${clusters} clusters are finalized after ${seconds.toFixed(0)} s`);
      const hosts = new Map(
        rollouts.map(({ cluster, members }) => [cluster, members.map(({ host }) => host)]),
      );
      const histories = await historySizes(temporal);
      const found = await readActivityLog(settings.logFile, hosts);
      const perCluster = Math.round(found.activities / clusters);
      const noop = await this.#noopRate(temporal, perCluster);
      return {
        log: found,
        rates: { fleet: busyRate(found.beganAtMs), noop },
        seconds,
        stopDelayMs,
        controlMiB: this.#controlMiB,
        histories,
        failedClusters,
      };
    } finally {
      clearInterval(sampling);
      await temporal.connection.close();
    }
  }

  /** Children of the same window, with as many activities each, that do nothing. */
  async #noopRate(temporal: Client, activities: number): Promise<number> {
    const { address = '', namespace = '' } = this.#server ?? {};
    const workers = fileURLToPath(new URL('noop-workers.js', import.meta.url));
    await this.#start([workers, address, namespace]);
    const { window } = this.#options;
    const children = Math.max(window, noopChildren);
    const startedMs = performance.now();
    await temporal.workflow.execute<typeof noopFleet>('noopFleet', {
      workflowId: 'noop',
      taskQueue: 'noop',
      args: [{ children, window, activities }],
    });
    return (children * activities * 1000) / (performance.now() - startedMs);
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

  /** Returns how long after the call the last step began. */
  async #stopInTheMiddle(client: FleetClient, clusters: number): Promise<number> {
    const { log } = this.#options;
    await this.#until(client, 'half of it is done', ({ counts }) => {
      return counts.finalized >= clusters / 2;
    });
    const calledMs = Date.now();
    await client.stop('sim', 'a drill');
    const acceptedMs = Date.now() - calledMs;
    await delay(2 * quietMs);
    const { stepsAtMs } = await readActivityLog(this.#path('activities.jsonl'), new Map());
    const delayMs = Math.max(0, (stepsAtMs.at(-1) ?? 0) - calledMs);
    log(`emergency stop: accepted after ${acceptedMs} ms, the last step began after ${delayMs} ms`);
    await client.resume('sim');
    return delayMs;
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

  #fleet(): {
    settings: Omit<SimulatedMachines, 'address' | 'namespace'>;
    rollouts: ClusterRollout[];
  } {
    const { replicas, clusters, machines, window, perMachine, doomed, seed } = this.#options;
    const size = Math.max(1, Math.round(replicas / clusters));
    const policy = rolloutPolicySchema.parse({
      target: 'memory://new-{cluster}-{member}',
      waves: [{ name: 'canary', clusters: 1 }, { clusters: '10%' }, { clusters: '100%' }],
      concurrency: { clusters: window, perMachine },
      failureBudget: Math.max(0, doomed - 1),
      soakSeconds: 0,
      finalize: 'per-cluster',
    });
    const placed: Record<string, ReplicaName[]> = {};
    const rollouts = Array.from({ length: clusters }, (_, c) => {
      const cluster = `c${c}`;
      const members = Array.from({ length: size }, (_member, m) => {
        const host = `sim-${(c * size + m) % machines}`;
        const member = `n${m}`;
        (placed[host] ??= []).push({ cluster, member });
        const one = (name: string) => ({ log: name, meta: name, snapshot: name });
        return {
          member,
          host,
          agentId: null,
          raftId: member,
          source: one(`memory://${cluster}-${member}`),
          target: one(`memory://new-${cluster}-${member}`),
        };
      });
      const rolloutId = `sim-${seed}`;
      const requestedBy = 'simulation';
      return clusterRolloutSchema.parse({
        ...{ contractVersion, rolloutId, cluster, members, policy, requestedBy },
      });
    });
    const settings = {
      logFile: this.#path('activities.jsonl'),
      doomedFile: this.#path('doomed'),
      failingShare: this.#options.failingShare,
      seed,
      entries,
      machines: placed,
    };
    return { settings, rollouts };
  }

  /** Stores the snapshot, and dooms clusters of its second wave. */
  async #store(rollouts: readonly ClusterRollout[]): Promise<string> {
    const { doomed } = this.#options;
    const names = rollouts.slice(1, 1 + doomed).map(({ cluster }) => cluster);
    await writeFile(this.#path('doomed'), names.join('\n'));
    const store = await openControlStore({ controlDir: this.#path('control') });
    try {
      return await store.snapshots.put(rollouts);
    } finally {
      await store.close();
    }
  }

  #path(name: string): string {
    return join(this.#root, name);
  }

  /** Waits until it says that it is ready. */
  async #start(command: readonly string[]): Promise<ChildProcess> {
    const { address = '', namespace = '' } = this.#server ?? {};
    const child = spawn(process.execPath, command, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: namespace },
    });
    this.#processes.push(child);
    await new Promise<void>((ready, reject) => {
      const hear = (text: string) => {
        if (text.includes('ready')) ready();
        else this.#options.log(text.trimEnd());
      };
      child.stdout.setEncoding('utf8').on('data', hear);
      child.stderr.setEncoding('utf8').on('data', hear);
      child.once('exit', (code) => reject(new Error(`${command.join(' ')} ended: ${code}`)));
    });
    return child;
  }

  async #sample({ pid }: ChildProcess): Promise<void> {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    const kib = /VmRSS:\s+(\d+)/.exec(status)?.[1];
    if (kib !== undefined) this.#controlMiB.push(Math.round(Number(kib) / 1024));
  }

  async #close(): Promise<void> {
    for (const child of this.#processes) child.kill('SIGKILL');
    await this.#server?.kill();
    if (process.env['QUORUMSHIFT_KEEP'] !== '1')
      await rm(this.#root, { recursive: true, force: true });
  }
}

/** In the seconds in which any began: not while it was stopped, or waited for an operator. */
function busyRate(atMs: readonly number[]): number {
  const seconds = new Set(atMs.map((time) => Math.floor(time / 1000)));
  return atMs.length / Math.max(1, seconds.size);
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

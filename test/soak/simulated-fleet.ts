/**
 * The processes of a simulated fleet, on a Temporal server of its own: the control worker with its
 * store, as users start it, and all machines in one process (simulated-agents.ts).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { Client } from '@temporalio/client';

import { FleetClient } from '../../client/fleet-client.ts';
import { storeSnapshot } from '../setup/stored-snapshot.ts';
import { contractVersion, type ReplicaName } from '../../core/ids.ts';
import { clusterRolloutSchema, type ClusterRollout } from '../../schemas/cluster-rollout.ts';
import type { RolloutPolicy } from '../../schemas/rollout-policy.ts';
import { connectClient } from '../../worker/temporal-connection.ts';
import { freePort } from '../setup/free-ports.ts';
import { startTemporalServer, type TemporalServer } from '../../worker/temporal-server.ts';
import { makeServerDirectory } from '../setup/test-server.ts';
import type { noopFleet } from './noop-workflows.ts';
import type { SimulatedMachines } from './simulated-agents.ts';

/** As docs/rollouts.md has them for thousands of machines. */
const serverSettings = {
  'frontend.namespaceCount': 20_000,
  'frontend.namespaceRPS': 50_000,
  'matching.numTaskqueueReadPartitions': 1,
  'matching.numTaskqueueWritePartitions': 1,
  // Each page of timers is looked for among all that are not acknowledged yet: a server of one
  // shard otherwise falls behind with them, and the further it is the slower it is.
  'history.timerTaskBatchSize': 1_000,
  'history.timerProcessorUpdateAckInterval': 5,
  'history.queueMaxReaderCount': 1,
};

const memorySampleMs = 2_000;

/** So many names of clusters. */
export function clusterNames(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, c) => `${prefix}${c}`);
}

/** Of clusters of so many members, spread evenly over machines `sim-0`, …. */
export function simulatedRollouts(given: {
  readonly names: readonly string[];
  readonly members: number;
  readonly machines: number;
  readonly rolloutId: string;
  readonly policy: RolloutPolicy;
}): ClusterRollout[] {
  const { names, machines, rolloutId, policy } = given;
  const one = (name: string) => ({ log: name, meta: name, snapshot: name });
  return names.map((cluster, c) => {
    const members = Array.from({ length: given.members }, (_member, m) => ({
      member: `n${m}`,
      host: `sim-${(c * given.members + m) % machines}`,
      agentId: null,
      raftId: `n${m}`,
      source: one(`memory://${cluster}-n${m}`),
      target: one(`memory://new-${cluster}-n${m}`),
    }));
    const requestedBy = 'simulation';
    return clusterRolloutSchema.parse({
      ...{ contractVersion, rolloutId, cluster, members, policy, requestedBy },
    });
  });
}

/** Which replicas lie on which machine. */
export function placed(rollouts: readonly ClusterRollout[]): Record<string, ReplicaName[]> {
  const machines: Record<string, ReplicaName[]> = {};
  for (const { cluster, members } of rollouts) {
    for (const { host, member } of members) (machines[host] ??= []).push({ cluster, member });
  }
  return machines;
}

export class SimulatedFleet {
  readonly temporal: Client;
  readonly client: FleetClient;
  /** Resident memory of the control worker over time, MiB. */
  readonly controlMiB: number[] = [];
  readonly #root: string;
  readonly #server: TemporalServer;
  readonly #log: (line: string) => void;
  readonly #processes: ChildProcess[] = [];
  #sampling: NodeJS.Timeout | undefined;

  /** Everything runs, and nothing is rolled out yet. */
  static async start(given: {
    readonly bin: string;
    readonly machines: Omit<SimulatedMachines, 'logFile' | 'doomedFile'>;
    /** Clusters whose disks are full until {@link mend}. */
    readonly doomed: readonly string[];
    /** Of the server, besides those of many machines. */
    readonly settings?: Readonly<Record<string, number>>;
    readonly log: (line: string) => void;
  }): Promise<SimulatedFleet> {
    const { bin, log } = given;
    const settings = { ...serverSettings, ...given.settings };
    const root = await makeServerDirectory();
    const dbFile = join(root, 'temporal.db');
    const server = await startTemporalServer({ bin, dbFile, settings, port: await freePort() });
    const fleet = new SimulatedFleet({ root, server, log, temporal: await connectClient(server) });
    try {
      await fleet.#startProcesses(given);
      return fleet;
    } catch (error) {
      await fleet.close();
      throw error;
    }
  }

  private constructor(given: {
    readonly root: string;
    readonly server: TemporalServer;
    readonly temporal: Client;
    readonly log: (line: string) => void;
  }) {
    this.#root = given.root;
    this.#server = given.server;
    this.#log = given.log;
    this.temporal = given.temporal;
    this.client = new FleetClient({ client: given.temporal, identity: 'simulation' });
  }

  /** What the agents did. */
  get logFile(): string {
    return join(this.#root, 'activities.jsonl');
  }

  async mend(): Promise<void> {
    await writeFile(join(this.#root, 'doomed'), '');
  }

  /** Stores what a rollout follows; its digest. */
  snapshot(rollouts: readonly ClusterRollout[]): Promise<string> {
    return storeSnapshot(join(this.#root, 'control'), rollouts);
  }

  /** Workers for {@link noop}. */
  async startNoops(): Promise<void> {
    const { address, namespace } = this.#server;
    const workers = fileURLToPath(new URL('noop-workers.js', import.meta.url));
    await this.#start([workers, address, namespace]);
  }

  /** Runs children in the window, with so many activities each, that do nothing; seconds. */
  async noop(given: {
    readonly workflowId: string;
    readonly children: number;
    readonly window: number;
    readonly activities: number;
  }): Promise<number> {
    const { workflowId, ...fleet } = given;
    const startedMs = performance.now();
    await this.temporal.workflow.execute<typeof noopFleet>('noopFleet', {
      workflowId,
      taskQueue: 'noop',
      args: [fleet],
    });
    return (performance.now() - startedMs) / 1000;
  }

  async close(): Promise<void> {
    clearInterval(this.#sampling);
    for (const child of this.#processes) child.kill('SIGKILL');
    await this.temporal.connection.close();
    await this.#server.kill();
    if (process.env['QUORUMSHIFT_KEEP'] !== '1')
      await rm(this.#root, { recursive: true, force: true });
  }

  async #startProcesses(given: {
    readonly machines: Omit<SimulatedMachines, 'logFile' | 'doomedFile'>;
    readonly doomed: readonly string[];
  }): Promise<void> {
    const { address, namespace } = this.#server;
    const doomedFile = join(this.#root, 'doomed');
    await writeFile(doomedFile, given.doomed.join('\n'));
    const configuration = join(this.#root, 'machines.json');
    const machines: SimulatedMachines = { ...given.machines, logFile: this.logFile, doomedFile };
    await writeFile(configuration, JSON.stringify({ ...machines, address, namespace }));
    const program = fileURLToPath(new URL('simulated-machines.js', import.meta.url));
    await this.#start([program, configuration]);
    const controlConfig = join(this.#root, 'control.json');
    await writeFile(controlConfig, JSON.stringify({ controlDir: join(this.#root, 'control') }));
    const command = [resolve('bin/quorumshift.mjs'), 'control', '--config', controlConfig];
    const control = await this.#start(command);
    this.#sampling = setInterval(() => void this.#sample(control), memorySampleMs);
  }

  /** Waits until it says that it is ready. */
  async #start(command: readonly string[]): Promise<ChildProcess> {
    const { address, namespace } = this.#server;
    const child = spawn(process.execPath, command, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: namespace },
    });
    this.#processes.push(child);
    await new Promise<void>((ready, reject) => {
      const hear = (text: string) => {
        if (text.includes('ready')) ready();
        else this.#log(text.trimEnd());
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
    if (kib !== undefined) this.controlMiB.push(Math.round(Number(kib) / 1024));
  }
}
